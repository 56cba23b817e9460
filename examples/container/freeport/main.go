// SPDX-License-Identifier: Apache-2.0

// Command freeport prints a TCP port of loopback that nothing listens on.
package main

import (
	"fmt"
	"log"
	"net"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	_ = listener.Close()
}
