package main

import (
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

var deadLetterScenarios = scenarios{
	"dead_letter_rejected": deadLetterRejected,
	"dead_letter_expired":  deadLetterExpired,
	"dead_letter_maxlen":   deadLetterMaxlen,
	"dead_letter_retry":    deadLetterRetry,
}

// deaths are the entries of x-death, without the time, which must be about now.
func deaths(letter amqp.Delivery) []amqp.Table {
	entries, found := letter.Headers["x-death"].([]any)
	isTrue(found, fmt.Sprintf("x-death is an array in %v", letter.Headers))
	tables := make([]amqp.Table, len(entries))
	for n, entry := range entries {
		tables[n] = entry.(amqp.Table)
		died, found := tables[n]["time"].(time.Time)
		isTrue(found, fmt.Sprintf("the time is a timestamp in %v", tables[n]))
		isTrue(time.Since(died).Abs() < time.Minute, fmt.Sprintf("%v is about now", died))
		delete(tables[n], "time")
	}
	return tables
}

// firstDeath checks the headers that tell of a message's first death.
func firstDeath(letter amqp.Delivery, reason, queue, exchange string) {
	equal(letter.Headers["x-first-death-reason"], any(reason), "x-first-death-reason")
	equal(letter.Headers["x-first-death-queue"], any(queue), "x-first-death-queue")
	equal(letter.Headers["x-first-death-exchange"], any(exchange), "x-first-death-exchange")
}

func deadLetterRejected(s *session) {
	ch := s.channel()
	source := s.exchange(ch, amqp.ExchangeTopic, "source")
	exchange := s.exchange(ch, amqp.ExchangeDirect, "dead letters")
	queue := s.queueWith(ch, "queue", amqp.Table{
		"x-dead-letter-exchange": exchange, "x-dead-letter-routing-key": "rejected"})
	dead := s.queue(ch, "dead")
	check(bind(queue, source, "orders.*")(ch))
	check(bind(dead, exchange, "rejected")(ch))
	publish(ch, source, "orders.new", amqp.Publishing{
		MessageId: "order-1", Headers: amqp.Table{"kept": "yes"}, Body: []byte("order")})
	check(getOne(ch, queue, false).Reject(false))
	letter := awaitOne(ch, dead)
	equal([]string{letter.Exchange, letter.RoutingKey, letter.MessageId, string(letter.Body)},
		[]string{exchange, "rejected", "order-1", "order"}, "letter")
	equal(letter.Headers["kept"], any("yes"), "the message's own header")
	equal(deaths(letter), []amqp.Table{{
		"count":        int64(1),
		"reason":       "rejected",
		"queue":        queue,
		"exchange":     source,
		"routing-keys": []any{"orders.new"},
	}}, "x-death")
	firstDeath(letter, "rejected", queue, source)
}

func deadLetterExpired(s *session) {
	ch := s.channel()
	dead := s.queue(ch, "dead")
	queue := s.queueWith(ch, "queue", deadLettersTo(dead))
	publish(ch, amqp.DefaultExchange, queue, amqp.Publishing{Expiration: "100", Body: []byte("late")})
	letter := awaitOne(ch, dead)
	equal(string(letter.Body), "late", "letter")
	equal(letter.Expiration, "", "expiration")
	equal(deaths(letter), []amqp.Table{{
		"count":               int64(1),
		"reason":              "expired",
		"queue":               queue,
		"exchange":            "",
		"routing-keys":        []any{queue},
		"original-expiration": "100",
	}}, "x-death")
	firstDeath(letter, "expired", queue, "")
}

// deadLettersTo are the arguments of a queue whose dead letters go to another.
func deadLettersTo(queue string) amqp.Table {
	return amqp.Table{"x-dead-letter-exchange": amqp.DefaultExchange, "x-dead-letter-routing-key": queue}
}

func deadLetterMaxlen(s *session) {
	ch := s.channel()
	dead := s.queue(ch, "dead")
	arguments := deadLettersTo(dead)
	arguments[amqp.QueueMaxLenArg] = 2
	queue := s.queueWith(ch, "queue", arguments)
	send(ch, queue, "1", "2", "3")
	letter := awaitOne(ch, dead)
	equal(string(letter.Body), "1", "letter")
	equal(deaths(letter), []amqp.Table{{
		"count":        int64(1),
		"reason":       "maxlen",
		"queue":        queue,
		"exchange":     "",
		"routing-keys": []any{queue},
	}}, "x-death")
	equal(drain(ch, queue), []string{"2", "3"}, "messages left")
}

func deadLetterRetry(s *session) {
	ch := s.channel()
	waiting := deadLettersTo(s.name("work"))
	waiting[amqp.QueueMessageTTLArg] = 100
	retry := s.queueWith(ch, "retry", waiting)
	work := s.queueWith(ch, "work", deadLettersTo(retry))
	inbox := consume(ch, work)
	send(ch, work, "task")
	for n := 0; n < 3; n++ {
		check(inbox.take(1)[0].Reject(false))
	}
	task := inbox.take(1)[0]
	equal(string(task.Body), "task", "task")
	death := func(reason, queue string) amqp.Table {
		return amqp.Table{
			"count":        int64(3),
			"reason":       reason,
			"queue":        queue,
			"exchange":     "",
			"routing-keys": []any{queue},
		}
	}
	equal(deaths(task), []amqp.Table{death("expired", retry), death("rejected", work)}, "x-death")
	firstDeath(task, "rejected", work, "")
	check(task.Ack(false))
}
