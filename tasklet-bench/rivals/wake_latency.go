// wake_latency in Go: the median time from a send on one thread to the first instruction of the goroutine that waited for it, on
// another thread that has slept for 2 ms. Prints a line as tasklet-bench does.
//
// Run it with `go run wake_latency.go`. A goroutine that sends keeps its own processor busy until the receiver runs: Go has no
// foreign threads without C, and would otherwise run the receiver on the sender's thread.
package main

import (
	"fmt"
	"runtime"
	"sort"
	"sync/atomic"
	"time"
)

const wakes = 500

func main() {
	runtime.GOMAXPROCS(2)
	runtime.LockOSThread()
	bell := make(chan struct{})
	var awake int64
	base := time.Now()
	go func() {
		for range bell {
			atomic.StoreInt64(&awake, int64(time.Since(base)))
		}
	}()
	var times []int64
	for i := 0; i < wakes; i++ {
		time.Sleep(2 * time.Millisecond)
		atomic.StoreInt64(&awake, 0)
		start := int64(time.Since(base))
		bell <- struct{}{}
		at := int64(0)
		for at == 0 {
			at = atomic.LoadInt64(&awake)
		}
		times = append(times, at-start)
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	fmt.Printf("wake_latency\t%d.0\tns\n", times[len(times)/2])
}
