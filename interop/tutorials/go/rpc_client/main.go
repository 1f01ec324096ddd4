// RPC: asks for one Fibonacci number and waits for the answer.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"leveret/tutorials/broker"
)

const patience = 30 * time.Second

// fibonacci asks the server on the other side of rpc_queue.
func fibonacci(ctx context.Context, channel *amqp.Channel, n int) int {
	queue, err := channel.QueueDeclare("", false, false, true, false, nil)
	broker.Check(err, "declare a queue for the answer")
	answers, err := channel.ConsumeWithContext(ctx, queue.Name, "", true, true, false, false, nil)
	broker.Check(err, "consume")

	correlation := newCorrelation()
	err = channel.PublishWithContext(ctx, "", "rpc_queue", false, false, amqp.Publishing{
		ContentType:   "text/plain",
		CorrelationId: correlation,
		ReplyTo:       queue.Name,
		Body:          []byte(strconv.Itoa(n)),
	})
	broker.Check(err, "ask")
	for answer := range answers {
		// A late answer to an earlier question has another correlation id.
		if answer.CorrelationId == correlation {
			result, err := strconv.Atoi(string(answer.Body))
			broker.Check(err, "read the answer")
			return result
		}
	}
	log.Fatal("there was no answer")
	return 0
}

func newCorrelation() string {
	bytes := make([]byte, 16)
	_, err := rand.Read(bytes)
	broker.Check(err, "make up a correlation id")
	return hex.EncodeToString(bytes)
}

func main() {
	n := 30
	if len(os.Args) > 1 {
		given, err := strconv.Atoi(os.Args[1])
		broker.Check(err, "read the number")
		n = given
	}

	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	connection, channel := broker.Connect()
	defer connection.Close()
	fmt.Printf(" [x] Requesting fib(%d)\n", n)
	fmt.Printf(" [.] Got %d\n", fibonacci(ctx, channel, n))
}
