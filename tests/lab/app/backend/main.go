// The lab's backend: small, but with the habits of the real one. It needs PostgreSQL and Redis, tells the truth about them,
// counts what it does, and stops without dropping a request.

// Without a go.mod (Debian's way of building) Go falls back to the routing of 1.20, which knows no methods in patterns.
//go:debug httpmuxgo121=0

package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const drainTime = 30 * time.Second

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	run := serve
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "-healthcheck":
			os.Exit(healthcheck("http://127.0.0.1:" + setting("PORT", "8080") + "/health"))
		case "-migrate":
			run = migrateAndStop
		default:
			slog.Error("unknown argument", "argument", os.Args[1])
			os.Exit(2)
		}
	}
	if err := run(); err != nil {
		slog.Error("stopped", "cause", err.Error())
		os.Exit(1)
	}
}

func setting(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

// healthcheck is what the container's health check runs: there is no shell and no curl in the image.
func healthcheck(url string) int {
	client := http.Client{Timeout: 3 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		slog.Error("health check", "cause", err.Error())
		return 1
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		slog.Error("health check", "status", answer.StatusCode)
		return 1
	}
	return 0
}

func fromEnvironment() (*app, error) {
	return newApp(os.Getenv("DATABASE_URL"), os.Getenv("REDIS_URL"), setting("APP_VERSION", "0.0.0"), os.Getenv("LAB_BROKEN"))
}

func migrateAndStop() error {
	app, err := fromEnvironment()
	if err != nil {
		return err
	}
	defer app.close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return migrate(ctx, app, os.Getenv("LAB_MIGRATION"), os.Stdout)
}

func serve() error {
	delay, err := inSeconds("LAB_START_DELAY", os.Getenv("LAB_START_DELAY"))
	if err != nil {
		return err
	}
	life, err := inSeconds("LAB_DIE_AFTER", os.Getenv("LAB_DIE_AFTER"))
	if err != nil {
		return err
	}
	app, err := fromEnvironment()
	if err != nil {
		return err
	}
	defer app.close()
	if app.broken != "" {
		slog.Error("this version cannot work", "version", app.version, "cause", app.broken)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if delay > 0 {
		slog.Info("slow to start", "seconds", delay.Seconds())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(delay):
		}
	}
	listener, err := net.Listen("tcp", ":"+setting("PORT", "8080"))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: app.handler(), ReadHeaderTimeout: 10 * time.Second}
	server.RegisterOnShutdown(app.closeSockets)
	if life > 0 {
		time.AfterFunc(life, func() {
			slog.Error("dying, as LAB_DIE_AFTER says", "seconds", life.Seconds())
			os.Exit(3)
		})
	}
	go app.prepare(ctx)
	go app.watchVisitors(ctx)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	slog.Info("listening", "address", listener.Addr().String(), "version", app.version)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	slog.Info("stopping: no new connections, running requests finish", "seconds", drainTime.Seconds())
	drain, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		return errors.Join(errors.New("requests were still running"), err)
	}
	slog.Info("stopped")
	return nil
}
