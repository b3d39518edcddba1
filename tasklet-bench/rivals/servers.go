// The servers of the workloads `echo` and `http` in Go, as a user of its library writes them. Prints the address that it listens at, and runs
// until it is killed.
//
// tasklet-bench builds and runs it: `tasklet-bench http --rival go`.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	if os.Args[1] == "http" {
		log.Fatal(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			io.WriteString(w, "Hello, World!")
		})))
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go echo(connection)
	}
}

// Go sets TCP_NODELAY by itself.
func echo(connection net.Conn) {
	defer connection.Close()
	room := make([]byte, 1024)
	for {
		got, err := connection.Read(room)
		if err != nil {
			return
		}
		connection.Write(room[:got])
	}
}
