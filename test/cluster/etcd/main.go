// Command etcd is the etcd server, started through the entry point of the server module: the module that holds etcd's own
// main package cannot be required, because it replaces its parts by folders beside it.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
