package trial_test

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/trial"
)

func change(id string) domain.Change {
	at := time.Date(2027, 6, 5, 14, 0, 0, 0, time.UTC)
	return domain.Change{Op: domain.OpUpsert, ExternalID: id, Category: domain.CategoryWedding, Status: domain.StatusConfirmed,
		When: domain.When{Span: domain.Span{Start: at, End: at.Add(time.Hour)}, Zone: "UTC", Kind: domain.TimeZoned}}
}

func read(changes ...domain.Change) provider.Explanation {
	return provider.Explanation{Decoded: provider.Decoded{Changes: changes}}
}

func TestComparisonTellsWhatWouldBecomeOfADelivery(t *testing.T) {
	t.Parallel()
	dead := provider.Explanation{Err: domain.Invalid("start", "has no value")}
	deadElse := provider.Explanation{Err: domain.Invalid("end", "has no value")}
	dropped := provider.Explanation{Decoded: provider.Decoded{Ignore: "dropped"}}
	routed := provider.Explanation{Decoded: provider.Decoded{Ignore: "dropped", Route: []domain.IntegrationID{"a"}}}
	a, b := change("a"), change("b")
	moved := change("a")
	moved.When.Start, moved.Details.Title = moved.When.Start.Add(time.Minute), "x"
	for _, c := range []struct {
		name     string
		was, now provider.Explanation
		kind     trial.Kind
		fields   []string
	}{
		{"same", read(a, b), read(a, b), trial.Same, nil},
		{"another order of entries", read(a, b), read(b, a), trial.Same, nil},
		{"same fault", dead, dead, trial.Same, nil},
		{"another fault", dead, deadElse, trial.Changed, []string{"reason"}},
		{"nothing for us both times", read(), read(), trial.Same, nil},
		{"dropped by a rule now", read(), dropped, trial.Changed, []string{"reason"}},
		{"routed now", dropped, routed, trial.Changed, []string{"route"}},
		{"fields", read(a), read(moved), trial.Changed, []string{"start", "title"}},
		{"another entry", read(a), read(b), trial.Changed, []string{"entries"}},
		{"one entry more", read(a), read(a, b), trial.Changed, []string{"entries"}},
		{"mended", dead, read(a), trial.NewlyApplied, nil},
		{"no longer dropped", dropped, read(a), trial.NewlyApplied, nil},
		{"dropped", read(a), dropped, trial.NewlyIgnored, nil},
		{"dropped instead of dead", dead, routed, trial.NewlyIgnored, []string{"route"}},
		{"broken", read(a), dead, trial.NewlyDead, nil},
	} {
		kind, fields := trial.Compare(c.was, c.now)
		if kind != c.kind || !slices.Equal(fields, c.fields) {
			t.Errorf("%s: %s %v, want %s %v", c.name, kind, fields, c.kind, c.fields)
		}
	}
}

// TestEveryFieldOfAChangeIsCompared alters one field after another, so that a new one cannot be forgotten.
func TestEveryFieldOfAChangeIsCompared(t *testing.T) {
	t.Parallel()
	var alter func(v reflect.Value, path string, done func(path string))
	alter = func(v reflect.Value, path string, done func(string)) {
		switch {
		case v.Type() == reflect.TypeFor[time.Time]():
			v.Set(reflect.ValueOf(v.Interface().(time.Time).Add(time.Minute)))
			done(path)
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				if v.Type().Field(i).Tag.Get("json") == "-" {
					continue // how a change came, no part of what it says
				}
				alter(v.Field(i), path+"."+v.Type().Field(i).Name, done)
			}
		case v.Kind() == reflect.String:
			v.SetString(v.String() + "x")
			done(path)
		case v.Kind() == reflect.Int64:
			v.SetInt(v.Int() + 1)
			done(path)
		case v.Type() == reflect.TypeFor[*time.Time]():
			at := time.Date(2027, 5, 1, 9, 0, 0, 0, time.UTC)
			v.Set(reflect.ValueOf(&at))
			done(path)
		case v.Type() == reflect.TypeFor[[]string]():
			v.Set(reflect.ValueOf([]string{"x"}))
			done(path)
		case v.Kind() == reflect.Bool:
			v.SetBool(!v.Bool())
			done(path)
		default:
			t.Fatalf("%s: a field of kind %s", path, v.Kind())
		}
	}
	n := 0
	now := change("a")
	alter(reflect.ValueOf(&now).Elem(), "Change", func(path string) {
		n++
		if kind, fields := trial.Compare(read(change("a")), read(now)); kind != trial.Changed || len(fields) != 1 {
			t.Errorf("%s: %s %v", path, kind, fields)
		}
		now = change("a")
	})
	if n < 15 {
		t.Errorf("only %d fields", n)
	}
}

func TestReasonsSayNothingOfUnknownFaults(t *testing.T) {
	t.Parallel()
	got := []string{trial.Reason(provider.Explanation{Err: errors.New("Marigold")}), trial.Reason(read()), trial.Reason(read(change("a")))}
	if diff := cmp.Diff([]string{"an unexpected fault", "nothing in it is for us", ""}, got); diff != "" {
		t.Error(diff)
	}
}
