// Hello world: puts one message into a queue.
package main

import (
	"context"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"leveret/tutorials/broker"
)

func main() {
	connection, channel := broker.Connect()
	defer connection.Close()

	// Sending to a queue that does not exist would lose the message, so the sender declares it too.
	queue, err := channel.QueueDeclare("hello", false, false, false, false, nil)
	broker.Check(err, "declare the queue")

	message := amqp.Publishing{ContentType: "text/plain", Body: []byte("Hello World!")}
	err = channel.PublishWithContext(context.Background(), "", queue.Name, false, false, message)
	broker.Check(err, "publish")
	fmt.Printf(" [x] Sent '%s'\n", message.Body)
}
