// Hello world: prints the messages of a queue until Ctrl-C.
package main

import (
	"fmt"

	"leveret/tutorials/broker"
)

func main() {
	ctx, stop := broker.Interrupted()
	defer stop()
	connection, channel := broker.Connect()
	defer connection.Close()

	queue, err := channel.QueueDeclare("hello", false, false, false, false, nil)
	broker.Check(err, "declare the queue")
	deliveries, err := channel.ConsumeWithContext(ctx, queue.Name, "", true, false, false, false, nil)
	broker.Check(err, "consume")

	fmt.Println(" [*] Waiting for messages. To exit press CTRL+C")
	for delivery := range deliveries {
		fmt.Printf(" [x] Received '%s'\n", delivery.Body)
	}
	broker.CheckInterrupted(ctx)
}
