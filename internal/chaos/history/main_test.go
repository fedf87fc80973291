package history_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/internal/childtest"
)

const dirOfChild = "TYPEDBUS_HISTORY"

func TestMain(m *testing.M) {
	if os.Getenv(childtest.Name) == "writer" {
		writeForEver(os.Getenv(dirOfChild))
	}
	goleak.VerifyTestMain(m)
}

// writeForEver writes from several goroutines until it is killed, lines of every length up to some pages.
func writeForEver(dir string) {
	w, err := history.Open(dir, fmt.Sprint("writer/", os.Getpid()))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for g := range 4 {
		go func() {
			for i := 0; ; i++ {
				w.Log(history.Record{What: history.Started, ID: fmt.Sprint(g, "-", i), Attempt: i, Text: strings.Repeat("x", i%9000)})
				if i == 20 {
					fmt.Println("writing")
				}
			}
		}()
	}
	select {}
}
