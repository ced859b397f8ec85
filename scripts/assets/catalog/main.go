// Judges a file-based catalog of the Operator Lifecycle Manager in a directory, as opm validate does.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/operator-framework/operator-registry/alpha/declcfg"
)

func main() {
	catalog, err := declcfg.LoadFS(context.Background(), os.DirFS(os.Args[1]))
	if err == nil {
		_, err = declcfg.ConvertToModel(*catalog)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
