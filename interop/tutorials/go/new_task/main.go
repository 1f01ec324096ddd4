// Work queues: sends a task that survives a restart of the broker. Each dot in it is a bit of work.
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
	task := strings.Join(os.Args[1:], " ")
	if task == "" {
		task = "Hello World!"
	}

	connection, channel := broker.Connect()
	defer connection.Close()
	queue, err := channel.QueueDeclare("task_queue", true, false, false, false, nil)
	broker.Check(err, "declare the queue")
	err = channel.PublishWithContext(context.Background(), "", queue.Name, false, false, amqp.Publishing{
		DeliveryMode: amqp.Persistent,
		ContentType:  "text/plain",
		Body:         []byte(task),
	})
	broker.Check(err, "publish")
	fmt.Printf(" [x] Sent '%s'\n", task)
}
