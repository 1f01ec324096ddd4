// Topics: prints the lines whose key matches one of the patterns given as arguments.
package main

import (
	"fmt"
	"log"
	"os"

	amqp "github.com/rabbitmq/amqp091-go"

	"leveret/tutorials/broker"
)

func main() {
	patterns := os.Args[1:]
	if len(patterns) == 0 {
		log.Fatalf("usage: %s PATTERN...", os.Args[0])
	}

	ctx, stop := broker.Interrupted()
	defer stop()
	connection, channel := broker.Connect()
	defer connection.Close()
	err := channel.ExchangeDeclare("topic_logs", amqp.ExchangeTopic, false, false, false, false, nil)
	broker.Check(err, "declare the exchange")
	queue, err := channel.QueueDeclare("", false, false, true, false, nil)
	broker.Check(err, "declare a queue")
	for _, pattern := range patterns {
		err = channel.QueueBind(queue.Name, pattern, "topic_logs", false, nil)
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
