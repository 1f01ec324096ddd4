// Topics: sends a line with a routing key of several words, such as kern.critical.
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
	key, message := "anonymous.info", "Hello World!"
	if len(os.Args) > 1 {
		key = os.Args[1]
	}
	if len(os.Args) > 2 {
		message = strings.Join(os.Args[2:], " ")
	}

	connection, channel := broker.Connect()
	defer connection.Close()
	err := channel.ExchangeDeclare("topic_logs", amqp.ExchangeTopic, false, false, false, false, nil)
	broker.Check(err, "declare the exchange")
	err = channel.PublishWithContext(context.Background(), "topic_logs", key, false, false, amqp.Publishing{
		ContentType: "text/plain",
		Body:        []byte(message),
	})
	broker.Check(err, "publish")
	fmt.Printf(" [x] Sent %s:'%s'\n", key, message)
}
