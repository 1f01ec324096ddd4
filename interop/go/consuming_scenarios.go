package main

import (
	"fmt"
	"sort"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

var consumingScenarios = scenarios{
	"consume_and_ack":           consumeAndAck,
	"no_ack":                    noAck,
	"prefetch":                  prefetch,
	"prefetch_per_channel":      prefetchPerChannel,
	"ack_multiple":              ackMultiple,
	"nack":                      nack,
	"reject":                    reject,
	"requeue_order":             requeueOrder,
	"recover":                   recoverUnacked,
	"unacked_requeued_on_close": unackedRequeuedOnClose,
	"consumer_cancel":           consumerCancel,
	"cancel_notify":             cancelNotify,
	"exclusive_consumer":        exclusiveConsumer,
	"round_robin":               roundRobin,
	"consumer_priority":         consumerPriority,
	"get":                       get,
}

// five publishes five messages and takes them without acknowledging.
func five(ch *amqp.Channel, queue string) []amqp.Delivery {
	send(ch, queue, numbers(1, 6)...)
	inbox := consume(ch, queue)
	deliveries := inbox.take(5)
	equal(bodies(inbox.finish()), []string{}, "further deliveries")
	return deliveries
}

func consumeAndAck(s *session) {
	connection := s.connect()
	ch := must(connection.Channel())
	queue := s.queue(ch, "queue")
	send(ch, queue, numbers(0, 100)...)
	for n, delivery := range consume(ch, queue).take(100) {
		equal(string(delivery.Body), fmt.Sprint(n), "body")
		equal(delivery.DeliveryTag, uint64(n+1), "delivery tag")
		equal(delivery.Redelivered, false, "redelivered")
		equal([]string{delivery.Exchange, delivery.RoutingKey}, []string{"", queue}, "exchange and routing key")
		check(delivery.Ack(false))
	}
	check(ch.Close())
	equal(drain(must(connection.Channel()), queue), []string{}, "messages left")
}

func noAck(s *session) {
	connection := s.connect()
	ch := must(connection.Channel())
	queue := s.queue(ch, "queue")
	check(ch.Qos(1, 0, false))
	inbox := consumeAutoAck(ch, queue)
	send(ch, queue, numbers(0, 50)...)
	equal(bodies(inbox.take(50)), numbers(0, 50), "messages")
	check(ch.Close())
	equal(drain(must(connection.Channel()), queue), []string{}, "messages left")
}

func prefetch(s *session) {
	ch := s.channel()
	queue := s.queue(ch, "queue")
	check(ch.Qos(5, 0, false))
	send(ch, queue, numbers(0, 20)...)
	first := consume(ch, queue)
	deliveries := first.take(5)
	awaitReady(ch, queue, 15)
	second := consume(ch, queue)
	equal(bodies(second.take(5)), numbers(5, 10), "messages of the second consumer")
	awaitReady(ch, queue, 10)
	check(deliveries[0].Ack(false))
	equal(bodies(first.take(1)), numbers(10, 11), "message after the ack")
	awaitReady(ch, queue, 9)
	equal(bodies(first.finish()), []string{}, "further messages of the first consumer")
	equal(bodies(second.finish()), []string{}, "further messages of the second consumer")
}

func prefetchPerChannel(s *session) {
	ch := s.channel()
	queue := s.queue(ch, "queue")
	check(ch.Qos(5, 0, true))
	first, second := consume(ch, queue), consume(ch, queue)
	send(ch, queue, numbers(0, 20)...)
	takeFromEither := func(count int) {
		for n := 0; n < count; n++ {
			select {
			case <-first.deliveries:
			case <-second.deliveries:
			case <-time.After(eventTimeout):
				fail("only %d deliveries of %d", n, count)
			}
		}
	}
	takeFromEither(5)
	awaitReady(ch, queue, 15)
	check(ch.Ack(0, true))
	takeFromEither(5)
	awaitReady(ch, queue, 10)
	equal(bodies(first.finish()), []string{}, "further messages of the first consumer")
	equal(bodies(second.finish()), []string{}, "further messages of the second consumer")
}

func ackMultiple(s *session) {
	connection := s.connect()
	ch := must(connection.Channel())
	queue := s.queue(ch, "queue")
	check(five(ch, queue)[2].Ack(true))
	check(ch.Close())
	ch = must(connection.Channel())
	equal(marked(takeAll(ch, queue)), []string{"4 again", "5 again"}, "messages beyond the tag")
	five(ch, queue)
	check(ch.Ack(0, true))
	check(ch.Close())
	equal(drain(must(connection.Channel()), queue), []string{}, "messages left")
}

func nack(s *session) {
	ch := s.channel()
	queue := s.queue(ch, "queue")
	deliveries := five(ch, queue)
	check(deliveries[0].Nack(false, false))
	check(deliveries[1].Nack(false, true))
	equal(marked(takeAll(ch, queue)), []string{"2 again"}, "requeued one by one")
	check(deliveries[3].Nack(true, true))
	equal(marked(takeAll(ch, queue)), []string{"3 again", "4 again"}, "requeued up to the tag")
	check(ch.Nack(0, true, false))
	check(ch.Nack(0, true, true))
	equal(drain(ch, queue), []string{}, "messages left")
}

func reject(s *session) {
	ch := s.channel()
	queue := s.queue(ch, "queue")
	deliveries := five(ch, queue)
	check(deliveries[0].Reject(false))
	check(deliveries[1].Reject(true))
	equal(marked(takeAll(ch, queue)), []string{"2 again"}, "requeued")
	for _, delivery := range deliveries[2:] {
		check(delivery.Reject(false))
	}
	equal(drain(ch, queue), []string{}, "messages left")
}

func requeueOrder(s *session) {
	ch := s.channel()
	queue := s.queue(ch, "queue")
	deliveries := five(ch, queue)
	send(ch, queue, "6")
	for _, position := range []int{2, 0, 4, 1, 3} {
		check(deliveries[position].Nack(false, true))
	}
	expected := []string{"1 again", "2 again", "3 again", "4 again", "5 again", "6"}
	equal(marked(takeAll(ch, queue)), expected, "order after the requeue")
}

func recoverUnacked(s *session) {
	ch := s.channel()
	queue := s.queue(ch, "queue")
	send(ch, queue, "1", "2", "3")
	inbox := consume(ch, queue)
	deliveries := inbox.take(3)
	check(deliveries[0].Ack(false))
	check(ch.Recover(true))
	deliveries = append(deliveries, inbox.take(2)...)
	equal(marked(deliveries), []string{"1", "2", "3", "2 again", "3 again"}, "messages")
	for n, delivery := range deliveries {
		equal(delivery.DeliveryTag, uint64(n+1), "delivery tag")
	}
}

func unackedRequeuedOnClose(s *session) {
	observer := s.channel()
	queue := s.sharedQueue(observer, "queue")
	holder := s.connect()
	ch := must(holder.Channel())
	send(ch, queue, "1", "2", "3")
	equal(marked(consume(ch, queue).take(3)), []string{"1", "2", "3"}, "at first")
	second := consume(must(holder.Channel()), queue)
	check(ch.Close())
	again := []string{"1 again", "2 again", "3 again"}
	equal(marked(second.take(3)), again, "after the channel closed")
	third := consume(observer, queue)
	check(holder.Close())
	equal(marked(third.take(3)), again, "after the connection closed")
}

func consumerCancel(s *session) {
	ch := s.channel()
	queue := s.queue(ch, "queue")
	inbox := must(consumeWith(ch, queue, consumeOptions{tag: "my-consumer"}))
	send(ch, queue, "before")
	delivery := inbox.take(1)[0]
	equal(delivery.ConsumerTag, "my-consumer", "consumer tag of the delivery")
	equal(bodies(inbox.finish()), []string{}, "deliveries until the cancel-ok")
	send(ch, queue, "after")
	awaitReady(ch, queue, 1)
	check(delivery.Ack(false))
	equal(drain(ch, queue), []string{"after"}, "messages left")
}

func cancelNotify(s *session) {
	connection := s.connect()
	ch := must(connection.Channel())
	queue := s.queue(ch, "queue")
	cancels := ch.NotifyCancel(make(chan string, 2))
	first, second := consume(ch, queue), consume(ch, queue)
	must(must(connection.Channel()).QueueDelete(queue, false, false, false))
	cancelled := []string{await(cancels, "a cancel"), await(cancels, "another cancel")}
	sort.Strings(cancelled)
	expected := []string{first.tag, second.tag}
	sort.Strings(expected)
	equal(cancelled, expected, "cancelled consumers")
	for range first.deliveries {
		fail("a delivery from a deleted queue")
	}
	isTrue(!ch.IsClosed(), "the channel is open")
	roundTrip(s, connection)
}

func exclusiveConsumer(s *session) {
	connection := s.connect()
	owner := must(connection.Channel())
	queue := s.queue(owner, "queue")
	inUse := fmt.Sprintf("ACCESS_REFUSED - queue '%s' in vhost '/' in exclusive use", queue)
	exclusive := must(consumeWith(owner, queue, consumeOptions{exclusive: true}))
	channelError(connection, amqp.AccessRefused, inUse, consumeFrom(queue, consumeOptions{}))
	exclusive.finish()
	consume(owner, queue)
	channelError(connection, amqp.AccessRefused, inUse, consumeFrom(queue, consumeOptions{exclusive: true}))
}

func roundRobin(s *session) {
	ch := s.channel()
	queue := s.queue(ch, "queue")
	inboxes := []*inbox{consumeAutoAck(ch, queue), consumeAutoAck(ch, queue), consumeAutoAck(ch, queue)}
	send(ch, queue, numbers(0, 30)...)
	turns := map[string]bool{}
	for _, inbox := range inboxes {
		turns[fmt.Sprint(bodies(inbox.take(10)))] = true
	}
	for turn := 0; turn < 3; turn++ {
		expected := []string{}
		for n := turn; n < 30; n += 3 {
			expected = append(expected, fmt.Sprint(n))
		}
		isTrue(turns[fmt.Sprint(expected)], fmt.Sprintf("a consumer got every third message from %d on: %v", turn, turns))
	}
}

func consumerPriority(s *session) {
	ch := s.channel()
	queue := s.queue(ch, "queue")
	priority := func(value int) consumeOptions {
		return consumeOptions{arguments: amqp.Table{"x-priority": value}}
	}
	low := must(consumeWith(ch, queue, priority(-5)))
	usual := consume(ch, queue)
	check(ch.Qos(3, 0, false))
	high := must(consumeWith(ch, queue, priority(10)))
	send(ch, queue, numbers(0, 10)...)
	equal(bodies(high.take(3)), numbers(0, 3), "high priority, until its prefetch")
	equal(bodies(usual.take(7)), numbers(3, 10), "usual priority")
	for _, inbox := range []*inbox{high, usual, low} {
		equal(bodies(inbox.finish()), []string{}, "further messages")
	}
}

func get(s *session) {
	connection := s.connect()
	ch := must(connection.Channel())
	queue := s.queue(ch, "queue")
	_, found, err := ch.Get(queue, false)
	check(err)
	isTrue(!found, "the queue is empty")
	send(ch, queue, "a", "b", "c")
	gotten := func(delivery amqp.Delivery) []any {
		return []any{string(delivery.Body), delivery.DeliveryTag, delivery.MessageCount, delivery.Redelivered}
	}
	first := getOne(ch, queue, false)
	equal(gotten(first), []any{"a", uint64(1), uint32(2), false}, "first")
	equal([]string{first.Exchange, first.RoutingKey}, []string{"", queue}, "exchange and routing key")
	equal(gotten(getOne(ch, queue, true)), []any{"b", uint64(2), uint32(1), false}, "second")
	check(ch.Close())
	ch = must(connection.Channel())
	again := getOne(ch, queue, false)
	equal(gotten(again), []any{"a", uint64(1), uint32(1), true}, "again")
	check(again.Ack(false))
	equal(drain(ch, queue), []string{"c"}, "messages left")
}
