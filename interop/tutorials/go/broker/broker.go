// Package broker holds what every program of the tutorials needs to talk to the broker.
package broker

import (
	"context"
	"log"
	"os"
	"os/signal"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Connect opens a connection to the broker at AMQP_URL, and a channel on it.
func Connect() (*amqp.Connection, *amqp.Channel) {
	url := os.Getenv("AMQP_URL")
	if url == "" {
		url = "amqp://guest:guest@localhost:5672/"
	}
	connection, err := amqp.Dial(url)
	Check(err, "connect")
	channel, err := connection.Channel()
	Check(err, "open a channel")
	return connection, channel
}

// Check ends the program with a message if something went wrong.
func Check(err error, what string) {
	if err != nil {
		log.Fatalf("cannot %s: %v", what, err)
	}
}

// Interrupted is a context that ends with Ctrl-C.
func Interrupted() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt)
}

// CheckInterrupted ends the program with a message if deliveries ended without Ctrl-C.
func CheckInterrupted(ctx context.Context) {
	if ctx.Err() == nil {
		log.Fatal("the broker sends nothing more")
	}
}
