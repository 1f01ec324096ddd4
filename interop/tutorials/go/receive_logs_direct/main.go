// Routing: prints the lines of the severities given as arguments.
package main

import (
	"fmt"
	"log"
	"os"

	amqp "github.com/rabbitmq/amqp091-go"

	"leveret/tutorials/broker"
)

func main() {
	severities := os.Args[1:]
	if len(severities) == 0 {
		log.Fatalf("usage: %s [info] [warning] [error]", os.Args[0])
	}

	ctx, stop := broker.Interrupted()
	defer stop()
	connection, channel := broker.Connect()
	defer connection.Close()
	err := channel.ExchangeDeclare("direct_logs", amqp.ExchangeDirect, false, false, false, false, nil)
	broker.Check(err, "declare the exchange")
	queue, err := channel.QueueDeclare("", false, false, true, false, nil)
	broker.Check(err, "declare a queue")
	for _, severity := range severities {
		err = channel.QueueBind(queue.Name, severity, "direct_logs", false, nil)
		broker.Check(err, "bind the queue")
	}
	deliveries, err := channel.ConsumeWithContext(ctx, queue.Name, "", true, false, false, false, nil)
	broker.Check(err, "consume")

	fmt.Println(" [*] Waiting for logs. To exit press CTRL+C")
	for delivery := range deliveries {
		fmt.Printf(" [x] %s:'%s'\n", delivery.RoutingKey, delivery.Body)
	}
	broker.CheckInterrupted(ctx)
}
