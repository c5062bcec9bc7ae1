package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

var probes = map[string]bool{"/health": true, "/health/deep": true, "/metrics": true}

func (a *app) handler() http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /health", a.health)
	routes.HandleFunc("GET /health/deep", a.healthDeep)
	routes.Handle("GET /metrics", a.metrics.handler())
	routes.HandleFunc("GET /api/version", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"version": a.version})
	})
	routes.HandleFunc("POST /api/visits", a.addVisit)
	routes.HandleFunc("GET /api/visits", a.countVisits)
	routes.HandleFunc("GET /api/slow", slow)
	routes.HandleFunc("GET /api/environment-digest", environmentDigest)
	routes.HandleFunc("GET /ws/", a.echo)
	return a.observed(routes)
}

// observed puts the version on every answer, and counts and logs every request that is not a probe.
func (a *app) observed(routes *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-App-Version", a.version)
		if probes[r.URL.Path] {
			routes.ServeHTTP(w, r)
			return
		}
		_, pattern := routes.Handler(r)
		endpoint := "other"
		if _, path, found := strings.Cut(pattern, " "); found {
			endpoint = path
		}
		began := time.Now()
		recorder := &recorder{ResponseWriter: w, status: http.StatusOK}
		routes.ServeHTTP(recorder, r)
		took := time.Since(began)
		a.metrics.observe(r.Method, endpoint, recorder.status, took)
		slog.Info("request", "method", r.Method, "path", r.URL.Path, "status", recorder.status, "seconds", took.Seconds(),
			"request_id", r.Header.Get("X-Request-ID"), "client", client(r))
	})
}

func (a *app) health(w http.ResponseWriter, _ *http.Request) {
	if a.broken != "" {
		slog.Error("unhealthy", "version", a.version, "cause", a.broken)
		answer(w, http.StatusInternalServerError, map[string]any{"status": "broken", "version": a.version, "cause": a.broken})
		return
	}
	answer(w, http.StatusOK, map[string]any{"status": "ok", "version": a.version})
}

func (a *app) healthDeep(w http.ResponseWriter, r *http.Request) {
	down := a.down(r.Context())
	names := make([]string, 0, len(down))
	for _, name := range []string{"postgres", "redis"} {
		if cause, failed := down[name]; failed {
			names = append(names, name)
			slog.Error("unreachable", "service", name, "cause", cause)
		}
	}
	if len(names) > 0 {
		answer(w, http.StatusServiceUnavailable, map[string]any{"status": "unavailable", "down": names, "version": a.version})
		return
	}
	answer(w, http.StatusOK, map[string]any{"status": "ok", "down": names, "version": a.version})
}

func (a *app) addVisit(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	path := r.URL.Query().Get("path")
	if path == "" || len(path) > 200 {
		path = "/"
	}
	err := within(ctx, func() error {
		_, err := a.db.ExecContext(ctx, "INSERT INTO visits (path) VALUES ($1)", path)
		return err
	})
	if err != nil {
		unavailable(w, "postgres", err)
		return
	}
	if err := a.seen(ctx, visitor(r), time.Now()); err != nil {
		unavailable(w, "redis", err)
		return
	}
	a.respondVisits(ctx, w, http.StatusCreated, "")
}

func (a *app) countVisits(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	a.respondVisits(ctx, w, http.StatusOK, r.URL.Query().Get("path"))
}

// respondVisits answers with the number of visits: of one path, so that a request that was counted twice is found, or of all.
func (a *app) respondVisits(ctx context.Context, w http.ResponseWriter, status int, path string) {
	counted := make(chan int64, 1) // not a plain variable: a query that is given up may still write to it
	err := within(ctx, func() error {
		var count int64
		err := a.db.QueryRowContext(ctx, "SELECT count(*) FROM visits WHERE $1 = '' OR path = $1", path).Scan(&count)
		counted <- count
		return err
	})
	if err != nil {
		unavailable(w, "postgres", err)
		return
	}
	answer(w, status, map[string]any{"visits": <-counted, "version": a.version})
}

// slow is a request that is still running when the container is told to stop.
func slow(w http.ResponseWriter, r *http.Request) {
	seconds, err := strconv.ParseFloat(r.URL.Query().Get("seconds"), 64)
	if err != nil || !(seconds >= 0 && seconds <= 60) {
		answer(w, http.StatusBadRequest, map[string]any{"error": "seconds must be 0 to 60"})
		return
	}
	select {
	case <-r.Context().Done():
	case <-time.After(time.Duration(seconds * float64(time.Second))):
		answer(w, http.StatusOK, map[string]any{"slept": seconds})
	}
}

// environmentDigest lets a test compare what arrived in the container byte for byte, without the value leaving it. Lab only.
func environmentDigest(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	value, found := os.LookupEnv(name)
	if !found {
		answer(w, http.StatusNotFound, map[string]any{"error": "no such variable"})
		return
	}
	sum := sha256.Sum256([]byte(value))
	answer(w, http.StatusOK, map[string]any{"name": name, "sha256": hex.EncodeToString(sum[:]), "length": len(value)})
}

// echo sends every message back. Its counterpart of a drain is a "going away" to whoever is connected.
func (a *app) echo(w http.ResponseWriter, r *http.Request) {
	upgrader := websocket.Upgrader{CheckOrigin: sameOrigin}
	conn, err := upgrader.Upgrade(w, r, http.Header{"X-App-Version": {a.version}})
	if err != nil {
		return // Upgrade has answered
	}
	defer conn.Close()
	conn.SetReadLimit(64 << 10)
	a.mu.Lock()
	closing := a.closing
	a.sockets[conn] = struct{}{}
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.sockets, conn)
		a.mu.Unlock()
	}()
	for !closing {
		kind, message, err := conn.ReadMessage()
		if err != nil {
			return
		}
		if err := conn.WriteMessage(kind, message); err != nil {
			return
		}
	}
}

func (a *app) closeSockets() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closing = true
	for conn := range a.sockets {
		goodbye := websocket.FormatCloseMessage(websocket.CloseGoingAway, "restarting")
		_ = conn.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(time.Second))
		conn.Close()
	}
}

// sameOrigin takes a browser's Origin only when it is the site's own; programs send none.
func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	return origin == "" || origin == "https://"+r.Host || origin == "http://"+r.Host
}

// client is the address as the proxy in front reports it: the proxy overwrites the header, visitors cannot choose it.
func client(r *http.Request) string {
	if forwarded := r.Header.Get("X-Forwarded-For"); forwarded != "" {
		return forwarded
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	return host
}

func visitor(r *http.Request) string {
	sum := sha256.Sum256([]byte(client(r) + "\x00" + r.UserAgent()))
	return hex.EncodeToString(sum[:8])
}

func unavailable(w http.ResponseWriter, service string, err error) {
	slog.Error("unreachable", "service", service, "cause", err.Error())
	answer(w, http.StatusServiceUnavailable, map[string]any{"error": "unavailable", "down": []string{service}})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		slog.Warn("answer not sent", "cause", err.Error())
	}
}

// recorder remembers the status and lets a WebSocket take the connection over.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	r.status = http.StatusSwitchingProtocols
	return http.NewResponseController(r.ResponseWriter).Hijack()
}
