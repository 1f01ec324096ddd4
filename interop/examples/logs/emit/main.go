// Logs as fast as it can: of a hundred lines one is an error.
//
//	emit NAME COUNT
//
// Errors are persistent and confirmed; what is merely informative may be lost.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func main() {
	name := os.Args[1]
	count, err := strconv.Atoi(os.Args[2])
	must(err)
	url := os.Getenv("AMQP_URL")
	if url == "" {
		url = "amqp://guest:guest@localhost"
	}
	connection, err := amqp.Dial(url)
	must(err)
	defer connection.Close()
	lines, err := connection.Channel()
	must(err)
	errors, err := connection.Channel()
	must(err)
	must(errors.Confirm(false))
	must(lines.ExchangeDeclare("logs", "direct", true, false, false, false, nil))

	var confirmations []*amqp.DeferredConfirmation
	began := time.Now()
	for number := 0; number < count; number++ {
		body := []byte(fmt.Sprintf("%s %d", name, number))
		if number%100 != 99 {
			must(lines.Publish("logs", "info", false, false, amqp.Publishing{Body: body}))
			continue
		}
		confirmation, err := errors.PublishWithDeferredConfirm("logs", "error", true, false, amqp.Publishing{
			DeliveryMode: amqp.Persistent,
			Body:         body,
		})
		must(err)
		confirmations = append(confirmations, confirmation)
	}
	for _, confirmation := range confirmations {
		if taken, err := confirmation.WaitContext(context.Background()); !taken || err != nil {
			log.Fatalf("an error was not taken: %v", err)
		}
	}
	fmt.Printf("emitted %d in %d ms\n", count, time.Since(began).Milliseconds())
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
