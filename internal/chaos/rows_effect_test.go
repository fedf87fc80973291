package chaos

// effectRows are with idempotency.
var effectRows []row
