// Publish/subscribe: prints every line that is broadcast.
package main

import (
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"leveret/tutorials/broker"
)

func main() {
	ctx, stop := broker.Interrupted()
	defer stop()
	connection, channel := broker.Connect()
	defer connection.Close()

	err := channel.ExchangeDeclare("logs", amqp.ExchangeFanout, false, false, false, false, nil)
	broker.Check(err, "declare the exchange")
	// A queue of our own with a name that the broker chooses, gone when we are.
	queue, err := channel.QueueDeclare("", false, false, true, false, nil)
	broker.Check(err, "declare a queue")
	err = channel.QueueBind(queue.Name, "", "logs", false, nil)
	broker.Check(err, "bind the queue")
	deliveries, err := channel.ConsumeWithContext(ctx, queue.Name, "", true, false, false, false, nil)
	broker.Check(err, "consume")

	fmt.Println(" [*] Waiting for logs. To exit press CTRL+C")
	for delivery := range deliveries {
		fmt.Printf(" [x] '%s'\n", delivery.Body)
	}
	broker.CheckInterrupted(ctx)
}
