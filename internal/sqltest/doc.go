// Package sqltest tests middleware/sqlclaims on real databases. It is a module of its own, so that their drivers never enter the
// module graph of the library.
package sqltest
