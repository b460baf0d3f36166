package devstack

import (
	"testing"
	"time"
)

func TestKilledServersComeBackOnTheirAddressesWithTheirData(t *testing.T) {
	t.Parallel()
	needServers(t)
	s := begin(t, Options{Ephemeral: true})
	before := s.pids()
	for _, immediate := range []bool{false, true} {
		if err := s.KillPostgres(immediate); err != nil {
			t.Fatal(err)
		}
		if err := askPostgres(t.Context(), s.DatabaseURL()); err == nil {
			t.Error("a killed server answers")
		}
		if err := s.RestartPostgres(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := askPostgres(t.Context(), s.DatabaseURL()); err != nil {
			t.Errorf("after the restart: %v", err)
		}
	}
	if err := s.KillTemporal(); err != nil {
		t.Fatal(err)
	}
	if err := s.RestartTemporal(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := dialTemporal(t.Context(), s.TemporalAddress())
	if err != nil {
		t.Fatalf("after the restart: %v", err)
	}
	defer c.Close()
	eventually(t, 30*time.Second, func() error { return askHistory(t.Context(), c) })
	awaitGone(t, before...)
	select {
	case err := <-s.Died():
		t.Errorf("reported as an accident: %v", err)
	default:
	}
}
