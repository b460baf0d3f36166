// Command probe asks a URL and exits with 0 if the answer is 2xx. The image holds nothing but WedSync itself, so the
// container's health check has no curl to call.
//
//	probe http://127.0.0.1:8080/readyz
package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "usage: probe URL")
		return 2
	}
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Get(args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		return 1
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		fmt.Fprintln(os.Stderr, "probe:", answer.Status)
		return 1
	}
	return 0
}
