// Announces what happens, for whoever wants to hear it.
//
//	announce COUNT
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"

	amqp "github.com/rabbitmq/amqp091-go"
)

var (
	regions = []string{"eu", "us", "asia"}
	kinds   = []string{"order", "payment"}
	grades  = []string{"info", "urgent"}
)

func main() {
	count, err := strconv.Atoi(os.Args[1])
	must(err)
	url := os.Getenv("AMQP_URL")
	if url == "" {
		url = "amqp://guest:guest@localhost"
	}
	connection, err := amqp.Dial(url)
	must(err)
	defer connection.Close()
	channel, err := connection.Channel()
	must(err)
	must(channel.Confirm(false))
	must(channel.ExchangeDeclare("notifications", "topic", true, false, false, false, nil))
	for number := 0; number < count; number++ {
		key := fmt.Sprintf("%s.%s.%s", regions[number%3], kinds[number%2], grades[number/6%2])
		confirmation, err := channel.PublishWithDeferredConfirm("notifications", key, false, false, amqp.Publishing{
			DeliveryMode: amqp.Persistent,
			Body:         []byte(strconv.Itoa(number)),
		})
		must(err)
		if taken, err := confirmation.WaitContext(context.Background()); !taken || err != nil {
			log.Fatalf("announcement %d was not taken: %v", number, err)
		}
		fmt.Println(key, number)
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
