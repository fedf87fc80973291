package chaos

// sentinelRows are with a Sentinel.
var sentinelRows []row
