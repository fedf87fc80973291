package chaos

// clusterRows are with a Cluster.
var clusterRows []row
