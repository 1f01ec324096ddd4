package main

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"
)

func publish(ch *amqp.Channel, exchange, key string, message amqp.Publishing) {
	check(ch.PublishWithContext(context.Background(), exchange, key, false, false, message))
}

func publishText(ch *amqp.Channel, exchange, key, body string) {
	publish(ch, exchange, key, amqp.Publishing{Body: []byte(body)})
}

// send puts messages into a queue.
func send(ch *amqp.Channel, queue string, bodies ...string) {
	for _, body := range bodies {
		publishText(ch, amqp.DefaultExchange, queue, body)
	}
}

// confirm publishes on a channel in confirm mode and returns whether the broker took the message.
func confirm(ch *amqp.Channel, exchange, key string, message amqp.Publishing) bool {
	ctx, cancel := context.WithTimeout(context.Background(), eventTimeout)
	defer cancel()
	confirmation := must(ch.PublishWithDeferredConfirmWithContext(ctx, exchange, key, false, false, message))
	return must(confirmation.WaitContext(ctx))
}

// sendConfirmed puts messages into a queue, each of which must be confirmed.
func sendConfirmed(ch *amqp.Channel, queue string, messages ...amqp.Publishing) {
	check(ch.Confirm(false))
	for _, message := range messages {
		isTrue(confirm(ch, amqp.DefaultExchange, queue, message), fmt.Sprintf("%q is confirmed", message.Body))
	}
}

func texts(bodies ...string) []amqp.Publishing {
	messages := make([]amqp.Publishing, len(bodies))
	for n, body := range bodies {
		messages[n] = amqp.Publishing{Body: []byte(body)}
	}
	return messages
}

// numbers are the texts of the numbers from first up to but not including end.
func numbers(first, end int) []string {
	texts := make([]string, 0, end-first)
	for n := first; n < end; n++ {
		texts = append(texts, strconv.Itoa(n))
	}
	return texts
}

// inbox is a consumer.
type inbox struct {
	channel    *amqp.Channel
	tag        string
	deliveries <-chan amqp.Delivery
}

type consumeOptions struct {
	tag                string
	autoAck, exclusive bool
	arguments          amqp.Table
}

func consume(ch *amqp.Channel, queue string) *inbox {
	return must(consumeWith(ch, queue, consumeOptions{}))
}

func consumeAutoAck(ch *amqp.Channel, queue string) *inbox {
	return must(consumeWith(ch, queue, consumeOptions{autoAck: true}))
}

var consumers atomic.Int64

func consumeWith(ch *amqp.Channel, queue string, options consumeOptions) (*inbox, error) {
	if options.tag == "" {
		options.tag = fmt.Sprint("consumer-", consumers.Add(1))
	}
	deliveries, err := ch.Consume(
		queue, options.tag, options.autoAck, options.exclusive, false, false, options.arguments)
	return &inbox{ch, options.tag, deliveries}, err
}

// take awaits a number of deliveries.
func (in *inbox) take(count int) []amqp.Delivery {
	taken := make([]amqp.Delivery, 0, count)
	for len(taken) < count {
		taken = append(taken, await(in.deliveries, fmt.Sprintf("delivery %d of %d", len(taken)+1, count)))
	}
	return taken
}

// finish cancels the consumer and returns everything that had arrived and was not taken.
func (in *inbox) finish() []amqp.Delivery {
	rest := make(chan []amqp.Delivery, 1)
	go func() {
		left := []amqp.Delivery{}
		for delivery := range in.deliveries {
			left = append(left, delivery)
		}
		rest <- left
	}()
	check(in.channel.Cancel(in.tag, false))
	return await(rest, "the deliveries end when the consumer is cancelled")
}

func bodies(deliveries []amqp.Delivery) []string {
	texts := make([]string, len(deliveries))
	for n, delivery := range deliveries {
		texts[n] = string(delivery.Body)
	}
	return texts
}

// marked are the bodies, those of messages that were delivered before marked with "again".
func marked(deliveries []amqp.Delivery) []string {
	texts := bodies(deliveries)
	for n, delivery := range deliveries {
		if delivery.Redelivered {
			texts[n] += " again"
		}
	}
	return texts
}

// takeAll takes everything out of a queue with get.
func takeAll(ch *amqp.Channel, queue string) []amqp.Delivery {
	taken := []amqp.Delivery{}
	for {
		delivery, found, err := ch.Get(queue, true)
		check(err)
		if !found {
			return taken
		}
		taken = append(taken, delivery)
	}
}

func drain(ch *amqp.Channel, queue string) []string {
	return bodies(takeAll(ch, queue))
}

// getOne takes a message that must be there.
func getOne(ch *amqp.Channel, queue string, autoAck bool) amqp.Delivery {
	delivery, found, err := ch.Get(queue, autoAck)
	check(err)
	isTrue(found, "a message is in the queue")
	return delivery
}

// awaitOne takes a message with get that is still on its way into the queue.
func awaitOne(ch *amqp.Channel, queue string) amqp.Delivery {
	awaitReady(ch, queue, 1)
	return getOne(ch, queue, true)
}
