package codec_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/typedbus/typedbus/codec"
)

func TestJSONReturnsNothingWithAnError(t *testing.T) {
	for name, body := range map[string]string{"wrong type": `{"id":"42","cents":"many"}`, "cut": `{"id":"42","cents":`} {
		t.Run(name, func(t *testing.T) {
			v, err := codec.JSON[flat]().Decode("", []byte(body))
			assert.Error(t, err)
			assert.Zero(t, v)
		})
	}
}
