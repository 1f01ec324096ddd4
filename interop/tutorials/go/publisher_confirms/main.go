// Publisher confirms: three ways to know that the broker has taken charge of every message.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"leveret/tutorials/broker"
)

const batchSize = 100

// publish sends one message and returns its confirmation, which is still to come.
func publish(channel *amqp.Channel, queue string, number int) *amqp.DeferredConfirmation {
	message := amqp.Publishing{Body: []byte(strconv.Itoa(number))}
	confirmation, err := channel.PublishWithDeferredConfirmWithContext(
		context.Background(), "", queue, false, false, message)
	broker.Check(err, "publish")
	return confirmation
}

func wait(confirmation *amqp.DeferredConfirmation) {
	if !confirmation.Wait() {
		log.Fatalf("message %d was refused", confirmation.DeliveryTag)
	}
}

// individually is simple and slow: one message under way at a time.
func individually(channel *amqp.Channel, queue string, count int) {
	for number := 0; number < count; number++ {
		wait(publish(channel, queue, number))
	}
}

// inBatches publishes so many messages and waits for them all: few waits, and little to keep in mind.
func inBatches(channel *amqp.Channel, queue string, count int) {
	batch := make([]*amqp.DeferredConfirmation, 0, batchSize)
	for number := 0; number < count; number++ {
		batch = append(batch, publish(channel, queue, number))
		if len(batch) == batchSize || number == count-1 {
			for _, confirmation := range batch {
				wait(confirmation)
			}
			batch = batch[:0]
		}
	}
}

// asynchronously publishes without waiting, while a goroutine takes the confirms as they come.
func asynchronously(channel *amqp.Channel, queue string, count int) {
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation, count))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for number := 0; number < count; number++ {
			confirm, open := <-confirms
			if !open {
				log.Fatal("the channel was closed before everything was confirmed")
			}
			if !confirm.Ack {
				log.Fatalf("message %d was refused", confirm.DeliveryTag)
			}
		}
	}()
	for number := 0; number < count; number++ {
		message := amqp.Publishing{Body: []byte(strconv.Itoa(number))}
		err := channel.PublishWithContext(context.Background(), "", queue, false, false, message)
		broker.Check(err, "publish")
	}
	<-done
}

func main() {
	count := 10_000
	if len(os.Args) > 1 {
		given, err := strconv.Atoi(os.Args[1])
		broker.Check(err, "read the number")
		count = given
	}
	for _, way := range []struct {
		manner  string
		publish func(*amqp.Channel, string, int)
	}{
		{"individually", individually},
		{"in batches", inBatches},
		{"asynchronously", asynchronously},
	} {
		connection, channel := broker.Connect()
		queue, err := channel.QueueDeclare("", false, false, true, false, nil)
		broker.Check(err, "declare a queue")
		broker.Check(channel.Confirm(false), "turn on confirms")
		started := time.Now()
		way.publish(channel, queue.Name, count)
		elapsed := time.Since(started).Milliseconds()
		fmt.Printf("Published %d messages and handled confirms %s in %d ms\n", count, way.manner, elapsed)
		broker.Check(connection.Close(), "close the connection")
	}
}
