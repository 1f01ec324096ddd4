package main

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	eventTimeout = 10 * time.Second
	pollInterval = 20 * time.Millisecond
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func fail(format string, arguments ...any) {
	panic(fmt.Sprintf(format, arguments...))
}

func equal[T any](actual, expected T, what string) {
	if !reflect.DeepEqual(actual, expected) {
		fail("%s: expected %#v, got %#v", what, expected, actual)
	}
}

func isTrue(condition bool, what string) {
	if !condition {
		fail("not so: %s", what)
	}
}

// await takes what comes next out of a channel.
func await[T any](from <-chan T, what string) T {
	return awaitWithin(eventTimeout, from, what)
}

func awaitWithin[T any](timeout time.Duration, from <-chan T, what string) T {
	select {
	case value, open := <-from:
		isTrue(open, what+" (there will be no more)")
		return value
	case <-time.After(timeout):
		panic(fmt.Sprintf("not within %v: %s", timeout, what))
	}
}

// eventually is for what the broker finishes in the background without telling anybody.
func eventually(condition func() bool, what string) {
	eventuallyWithin(eventTimeout, condition, what)
}

func eventuallyWithin(timeout time.Duration, condition func() bool, what string) {
	until := time.Now().Add(timeout)
	for !condition() {
		if time.Now().After(until) {
			fail("not within %v: %s", timeout, what)
		}
		time.Sleep(pollInterval)
	}
}

// awaitReady polls, for RabbitMQ answers a passive declare ahead of publishes that are still on their way to the queue.
func awaitReady(ch *amqp.Channel, queue string, count int) {
	eventually(func() bool { return inspect(ch, queue).Messages == count }, fmt.Sprintf("%d messages ready", count))
}

// inspect declares a queue passively.
func inspect(ch *amqp.Channel, queue string) amqp.Queue {
	return must(ch.QueueDeclarePassive(queue, false, false, false, false, nil))
}

// channelError runs an action on a new channel, which the broker must close with this code and text.
func channelError(connection *amqp.Connection, code int, text string, action func(*amqp.Channel) error) {
	ch := must(connection.Channel())
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	closedWith(closed, code, text, action(ch))
}

// connectionError runs an action on a new channel of a connection, which the broker must close with this code and text.
func connectionError(connection *amqp.Connection, code int, text string, action func(*amqp.Channel) error) {
	closed := connection.NotifyClose(make(chan *amqp.Error, 1))
	closedWith(closed, code, text, action(must(connection.Channel())))
}

// closedWith awaits the broker's reason. A method that has an answer returns it too, one that has none returns nothing.
func closedWith(closed <-chan *amqp.Error, code int, text string, returned error) {
	if returned != nil {
		refusedWith(returned, code, text)
	}
	refusedWith(await(closed, fmt.Sprintf("closed with %d %s", code, text)), code, text)
}

func refusedWith(err error, code int, text string) {
	var reason *amqp.Error
	if !errors.As(err, &reason) {
		fail("expected %d %s, got %v", code, text, err)
	}
	equal(fmt.Sprint(reason.Code, " ", reason.Reason), fmt.Sprint(code, " ", text), "error")
	isTrue(reason.Server, "the error is the broker's")
}

// parallel runs functions side by side until all have ended; a failure of one is a failure of the caller.
func parallel(functions ...func()) {
	ended := make(chan error, len(functions))
	for _, function := range functions {
		function := function
		go func() { ended <- caught(function) }()
	}
	var failures []error
	for range functions {
		if failure := <-ended; failure != nil {
			failures = append(failures, failure)
		}
	}
	if len(failures) > 0 {
		panic(placed(errors.Join(failures...).Error()))
	}
}
