// Work queues: does one task at a time, and acknowledges it when it is done.
// A dot in a task is a second of work, or as many as the argument says.
package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"leveret/tutorials/broker"
)

func main() {
	perDot := time.Second
	if len(os.Args) > 1 {
		seconds, err := strconv.ParseFloat(os.Args[1], 64)
		broker.Check(err, "read the seconds")
		perDot = time.Duration(seconds * float64(time.Second))
	}

	ctx, stop := broker.Interrupted()
	defer stop()
	connection, channel := broker.Connect()
	defer connection.Close()
	queue, err := channel.QueueDeclare("task_queue", true, false, false, false, nil)
	broker.Check(err, "declare the queue")
	// No second task for a worker that has not acknowledged its first.
	err = channel.Qos(1, 0, false)
	broker.Check(err, "set the prefetch")
	deliveries, err := channel.ConsumeWithContext(ctx, queue.Name, "", false, false, false, false, nil)
	broker.Check(err, "consume")

	fmt.Println(" [*] Waiting for messages. To exit press CTRL+C")
	for task := range deliveries {
		fmt.Printf(" [x] Received '%s'\n", task.Body)
		work := time.Duration(bytes.Count(task.Body, []byte("."))) * perDot
		select {
		case <-time.After(work):
		case <-ctx.Done():
			return
		}
		broker.Check(task.Ack(false), "acknowledge")
		fmt.Println(" [x] Done")
	}
	broker.CheckInterrupted(ctx)
}
