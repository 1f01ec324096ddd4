// Publish/subscribe: broadcasts a line to whoever listens now.
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
	message := strings.Join(os.Args[1:], " ")
	if message == "" {
		message = "info: Hello World!"
	}

	connection, channel := broker.Connect()
	defer connection.Close()
	err := channel.ExchangeDeclare("logs", amqp.ExchangeFanout, false, false, false, false, nil)
	broker.Check(err, "declare the exchange")
	err = channel.PublishWithContext(context.Background(), "logs", "", false, false, amqp.Publishing{
		ContentType: "text/plain",
		Body:        []byte(message),
	})
	broker.Check(err, "publish")
	fmt.Printf(" [x] Sent '%s'\n", message)
}
