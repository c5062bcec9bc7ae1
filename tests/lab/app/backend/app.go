package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/gorilla/websocket"
	_ "github.com/lib/pq"
)

const (
	table         = `CREATE TABLE IF NOT EXISTS visits (id bigserial PRIMARY KEY, path text NOT NULL, at timestamptz NOT NULL DEFAULT now())`
	visitorWindow = 5 * time.Minute
	visitorsKey   = "maicivy:visitors"
)

type app struct {
	version string
	broken  string
	db      *sql.DB
	redis   *redis.Pool
	metrics *metrics

	mu      sync.Mutex
	sockets map[*websocket.Conn]struct{}
	closing bool
}

func newApp(databaseURL, redisURL, version, broken string) (*app, error) {
	if databaseURL == "" || redisURL == "" {
		return nil, errors.New("DATABASE_URL and REDIS_URL must be set")
	}
	dsn, err := withoutTLS(databaseURL)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		return nil, errors.New("DATABASE_URL is not a PostgreSQL URL") // the driver's own words could hold the password
	}
	db.SetMaxOpenConns(10)
	db.SetConnMaxIdleTime(time.Minute)
	pool := &redis.Pool{
		MaxIdle: 4, IdleTimeout: time.Minute,
		DialContext: func(ctx context.Context) (redis.Conn, error) {
			second := time.Second
			return redis.DialURLContext(ctx, redisURL, redis.DialConnectTimeout(2*second), redis.DialReadTimeout(2*second), redis.DialWriteTimeout(2*second))
		},
	}
	return &app{version: version, broken: broken, db: db, redis: pool, metrics: newMetrics(), sockets: map[*websocket.Conn]struct{}{}}, nil
}

// withoutTLS says sslmode=disable where the URL says nothing: the database is on the same private network.
func withoutTLS(databaseURL string) (string, error) {
	parsed, err := url.Parse(databaseURL)
	if err != nil || (parsed.Scheme != "postgres" && parsed.Scheme != "postgresql") {
		return "", errors.New("DATABASE_URL must be a postgres:// URL with a percent-encoded user and password")
	}
	query := parsed.Query()
	if query.Get("sslmode") == "" {
		query.Set("sslmode", "disable")
		parsed.RawQuery = query.Encode()
	}
	return parsed.String(), nil
}

// prepare makes the table as soon as the database lets it: the two start together, and the database is often slower.
func (a *app) prepare(ctx context.Context) {
	for wait := time.Second; ; wait = min(2*wait, 10*time.Second) {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := within(attempt, func() error {
			_, err := a.db.ExecContext(attempt, table)
			return err
		})
		cancel()
		if err == nil {
			slog.Info("database is ready")
			return
		}
		slog.Warn("database is not ready", "cause", err.Error(), "again_in_seconds", wait.Seconds())
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// down names what cannot be reached, asking both at once with a time limit.
func (a *app) down(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	type answer struct {
		name string
		err  error
	}
	answers := make(chan answer, 2)
	go func() {
		answers <- answer{"postgres", within(ctx, func() error {
			var one int
			return a.db.QueryRowContext(ctx, "SELECT 1").Scan(&one)
		})}
	}()
	go func() { answers <- answer{"redis", a.ping(ctx)} }()
	failed := map[string]string{}
	for range 2 {
		if got := <-answers; got.err != nil {
			failed[got.name] = got.err.Error()
		}
	}
	return failed
}

// within gives up when the context does. The driver alone does not: it keeps reading from a server that is frozen, and a
// health answer that never comes is worse than a bad one.
func within(ctx context.Context, query func() error) error {
	done := make(chan error, 1)
	go func() { done <- query() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *app) ping(ctx context.Context) error {
	conn, err := a.redis.GetContext(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	reply, err := redis.String(redis.DoContext(conn, ctx, "PING"))
	if err == nil && reply != "PONG" {
		err = fmt.Errorf("answered %q", reply)
	}
	return err
}

// seen notes a visitor in Redis and forgets those of more than five minutes ago; the whole set expires with its last visitor.
func (a *app) seen(ctx context.Context, visitor string, now time.Time) error {
	conn, err := a.redis.GetContext(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := redis.DoContext(conn, ctx, "ZADD", visitorsKey, now.Unix(), visitor); err != nil {
		return err
	}
	if _, err := redis.DoContext(conn, ctx, "EXPIRE", visitorsKey, int(visitorWindow.Seconds())); err != nil {
		return err
	}
	_, err = redis.DoContext(conn, ctx, "INCR", "maicivy:visits")
	return err
}

// watchVisitors keeps the gauge current, so that it also falls when nobody comes.
func (a *app) watchVisitors(ctx context.Context) {
	for {
		if count, err := a.visitors(ctx, time.Now()); err == nil {
			a.metrics.visitors.Set(float64(count))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Second):
		}
	}
}

func (a *app) visitors(ctx context.Context, now time.Time) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	conn, err := a.redis.GetContext(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return redis.Int(redis.DoContext(conn, ctx, "ZCOUNT", visitorsKey, now.Add(-visitorWindow).Unix(), "+inf"))
}

func (a *app) close() {
	a.db.Close()
	a.redis.Close()
}
