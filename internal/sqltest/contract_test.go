package sqltest

import (
	"testing"

	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/middleware/claimtest"
	"github.com/typedbus/typedbus/middleware/sqlclaims"
)

func TestContract(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		source, _, _ := d.setup(t)
		claimtest.Run(t, claimtest.Harness{Store: func(t testing.TB) func() middleware.Claims {
			return func() middleware.Claims { return sqlclaims.New(d.open(t, source), d.dialect, sqlclaims.Options{}) }
		}})
	})
}
