// Answers calls: each takes a millisecond.
//
//	worker NAME
package main

import (
	"log"
	"os"
	"os/signal"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const work = time.Millisecond

func main() {
	name := os.Args[1]
	url := os.Getenv("AMQP_URL")
	if url == "" {
		url = "amqp://guest:guest@localhost"
	}
	connection, err := amqp.Dial(url)
	must(err)
	channel, err := connection.Channel()
	must(err)
	_, err = channel.QueueDeclare("calls", true, false, false, false, nil)
	must(err)
	// The next calls are there when one is done: the way to the broker and back costs no time.
	must(channel.Qos(10, 0, false))
	calls, err := channel.Consume("calls", "", false, false, false, false, nil)
	must(err)
	log.SetFlags(0)
	log.SetOutput(os.Stdout)
	log.Print("ready")

	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	go func() {
		<-interrupted
		_ = connection.Close()
	}()
	free := time.Now()
	for call := range calls {
		if now := time.Now(); free.Before(now) {
			free = now
		}
		// A timer may be late: the next call makes up for it.
		free = free.Add(work)
		time.Sleep(time.Until(free))
		must(channel.Publish("", call.ReplyTo, false, false, amqp.Publishing{
			CorrelationId: call.CorrelationId,
			Body:          []byte(name),
		}))
		must(call.Ack(false))
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
