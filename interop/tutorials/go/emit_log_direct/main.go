// Routing: sends a line with its severity as the routing key.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"leveret/tutorials/broker"
)

func main() {
	severity, message := "info", "Hello World!"
	if len(os.Args) > 1 {
		severity = os.Args[1]
	}
	if len(os.Args) > 2 {
		message = strings.Join(os.Args[2:], " ")
	}

	connection, channel := broker.Connect()
	defer connection.Close()
	err := channel.ExchangeDeclare("direct_logs", amqp.ExchangeDirect, false, false, false, false, nil)
	broker.Check(err, "declare the exchange")
	err = channel.PublishWithContext(context.Background(), "direct_logs", severity, false, false, amqp.Publishing{
		ContentType: "text/plain",
		Body:        []byte(message),
	})
	broker.Check(err, "publish")
	fmt.Printf(" [x] Sent %s:'%s'\n", severity, message)
}
