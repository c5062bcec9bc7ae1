package main

import (
	"context"
	"errors"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func lab(t *testing.T, broken string) *app {
	t.Helper()
	// Nothing listens on port 1: what needs a database must say that it has none.
	a, err := newApp("postgres://u:p%40%2F@127.0.0.1:1/d", "redis://:p%23@127.0.0.1:1/0", "1.2.3", broken)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.close)
	return a
}

func get(a *app, path string) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	a.handler().ServeHTTP(answer, httptest.NewRequest("GET", path, nil))
	return answer
}

func TestEveryAnswerNamesTheVersion(t *testing.T) {
	for _, path := range []string{"/health", "/health/deep", "/metrics", "/api/version", "/nothing"} {
		if got := get(lab(t, ""), path).Header().Get("X-App-Version"); got != "1.2.3" {
			t.Errorf("%s: X-App-Version is %q", path, got)
		}
	}
}

func TestABrokenVersionIsUnhealthyAndSaysWhy(t *testing.T) {
	answer := get(lab(t, "made so"), "/health")
	if answer.Code != 500 || !strings.Contains(answer.Body.String(), "made so") {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}

func TestDeepHealthNamesWhatIsDown(t *testing.T) {
	answer := get(lab(t, ""), "/health/deep")
	if answer.Code != 503 || !strings.Contains(answer.Body.String(), `["postgres","redis"]`) {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}

func TestNoErrorShowsAPassword(t *testing.T) {
	for _, bad := range []string{"mysql://u:secret@h/d", "postgres://u:sec%zzret@h/d"} {
		if _, err := newApp(bad, "redis://h", "1", ""); err == nil || strings.Contains(err.Error(), "ret@") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestATLSModeThatWasAskedForIsKept(t *testing.T) {
	got, err := withoutTLS("postgres://u:a%2Fb@h/d?sslmode=verify-full")
	parsed, _ := url.Parse(got)
	if password, _ := parsed.User.Password(); err != nil || password != "a/b" || parsed.Query().Get("sslmode") != "verify-full" {
		t.Errorf("%s %v", got, err)
	}
}

func TestProbesAreNotCountedAndLabelsAreBounded(t *testing.T) {
	a := lab(t, "")
	for _, path := range []string{"/health", "/metrics", "/api/version", "/api/slow?seconds=0", "/made/up/1", "/made/up/2"} {
		get(a, path)
	}
	text := get(a, "/metrics").Body.String()
	for _, want := range []string{
		`http_requests_total{endpoint="/api/version",method="GET",status="200"} 1`,
		`http_requests_total{endpoint="other",method="GET",status="404"} 2`,
		`http_request_duration_seconds_count{endpoint="/api/slow",method="GET",status="200"} 1`,
		"maicivy_current_visitors 0",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("missing: %s", want)
		}
	}
	if strings.Contains(text, `endpoint="/health"`) || strings.Contains(text, "made/up") {
		t.Error("a probe or a visitor's path became a label")
	}
}

func TestSlowIsBounded(t *testing.T) {
	for _, seconds := range []string{"-1", "61", "NaN", "x", ""} {
		if code := get(lab(t, ""), "/api/slow?seconds="+seconds).Code; code != 400 {
			t.Errorf("seconds=%q: %d", seconds, code)
		}
	}
}

func TestADigestIsOfTheExactValue(t *testing.T) {
	t.Setenv("LAB_TEST", "a$b #c")
	body := get(lab(t, ""), "/api/environment-digest?name=LAB_TEST").Body.String()
	if !strings.Contains(body, "4a976455064486063aff21439fb90c7362e09341b53ecba0e0ad47be6c862ea1") {
		t.Error(body)
	}
	if code := get(lab(t, ""), "/api/environment-digest?name=LAB_NONE").Code; code != 404 {
		t.Error(code)
	}
}

func TestAQueryThatNeverAnswersIsGivenUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	frozen := make(chan struct{})
	defer close(frozen)
	if err := within(ctx, func() error { <-frozen; return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
