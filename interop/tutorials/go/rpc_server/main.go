// RPC: answers requests for Fibonacci numbers.
package main

import (
	"context"
	"fmt"
	"strconv"

	amqp "github.com/rabbitmq/amqp091-go"

	"leveret/tutorials/broker"
)

func fib(n int) int {
	previous, current := 0, 1
	for step := 0; step < n; step++ {
		previous, current = current, previous+current
	}
	return previous
}

func main() {
	ctx, stop := broker.Interrupted()
	defer stop()
	connection, channel := broker.Connect()
	defer connection.Close()
	queue, err := channel.QueueDeclare("rpc_queue", false, false, false, false, nil)
	broker.Check(err, "declare the queue")
	err = channel.Qos(1, 0, false)
	broker.Check(err, "set the prefetch")
	requests, err := channel.ConsumeWithContext(ctx, queue.Name, "", false, false, false, false, nil)
	broker.Check(err, "consume")

	fmt.Println(" [x] Waiting for RPC requests")
	for request := range requests {
		n, err := strconv.Atoi(string(request.Body))
		broker.Check(err, "read a number")
		fmt.Printf(" [.] fib(%d)\n", n)
		err = channel.PublishWithContext(context.Background(), "", request.ReplyTo, false, false, amqp.Publishing{
			ContentType:   "text/plain",
			CorrelationId: request.CorrelationId,
			Body:          []byte(strconv.Itoa(fib(n))),
		})
		broker.Check(err, "answer")
		broker.Check(request.Ack(false), "acknowledge")
	}
	broker.CheckInterrupted(ctx)
}
