package chaos

import (
	"fmt"
	"strings"

	"github.com/typedbus/typedbus/internal/redistest"
)

// serverLine is what the table of servers says of this one.
func serverLine(suite string, lines []*line) (head, text string) {
	head, rule, text := "| server | tests |", "|---|---|", fmt.Sprintf("| %s | %s |", redistest.Version(), suite)
	for _, l := range lines {
		if l != nil {
			head, rule, text = head+" "+l.id+" |", rule+"---|", text+" "+l.verdict()+" |"
		}
	}
	return head + "\n" + rule, text
}

// noteServer renews a server's line in the table of a file. Lines of other servers stay, if they are of the same rows.
func noteServer(path, head, text string) error {
	_, old, _, err := serverTable.cut(path)
	if err != nil {
		return err
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(text, "| "), " |")
	lines, found := strings.Split(strings.TrimPrefix(old, head+"\n"), "\n"), false
	if !strings.HasPrefix(old, head) {
		lines = nil
	}
	for i, l := range lines {
		if strings.HasPrefix(l, "| "+name+" |") {
			lines[i], found = text, true
		}
	}
	if !found {
		lines = append(lines, text)
	}
	return serverTable.replace(path, head+"\n"+strings.Join(lines, "\n"))
}
