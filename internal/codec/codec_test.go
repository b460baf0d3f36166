package codec

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/vault"
)

func newRing(t testing.TB) *vault.Keyring {
	t.Helper()
	ring, err := vault.ParseKeys(vault.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

type input struct {
	Booking string
	Note    string
}

func TestValuesSurviveAndAreUnreadableInBetween(t *testing.T) {
	t.Parallel()
	dc := DataConverter(newRing(t))
	in := input{Booking: "bkg_1", Note: "Perrin & Oduya, church at noon"}
	payloads, err := dc.ToPayloads(in, 42, []byte("raw Perrin"), nil)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := proto.Marshal(payloads)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"Perrin", "bkg_1", "Booking", "json/plain", base64.StdEncoding.EncodeToString([]byte("Perrin"))} {
		if bytes.Contains(stored, []byte(word)) {
			t.Errorf("%q is readable in what is stored", word)
		}
	}
	var out input
	var number int
	var raw []byte
	var nothing *input
	if err := dc.FromPayloads(payloads, &out, &number, &raw, &nothing); err != nil {
		t.Fatal(err)
	}
	if out != in || number != 42 || string(raw) != "raw Perrin" || nothing != nil {
		t.Errorf("came back as %+v, %d, %q, %v", out, number, raw, nothing)
	}
}

func TestAnyPayloadSurvivesOneAndTwoLayers(t *testing.T) {
	t.Parallel()
	c := New(newRing(t))
	rapid.Check(t, func(t *rapid.T) {
		in := &commonpb.Payload{
			Metadata: rapid.MapOf(rapid.String(), rapid.SliceOf(rapid.Byte())).Draw(t, "metadata"),
			Data:     rapid.SliceOf(rapid.Byte()).Draw(t, "data"),
		}
		payloads := []*commonpb.Payload{in}
		for range 2 {
			next, err := c.Encode(payloads)
			if err != nil {
				t.Fatal(err)
			}
			payloads = next
		}
		for range 2 {
			next, err := c.Decode(payloads)
			if err != nil {
				t.Fatal(err)
			}
			payloads = next
		}
		if !proto.Equal(in, payloads[0]) {
			t.Fatalf("changed: %v", payloads[0])
		}
	})
}

func TestPlainPayloadsPassThrough(t *testing.T) {
	t.Parallel()
	plain, err := converter.GetDefaultDataConverter().ToPayload("started from the command line")
	if err != nil {
		t.Fatal(err)
	}
	var out string
	if err := DataConverter(newRing(t)).FromPayload(plain, &out); err != nil || out != "started from the command line" {
		t.Errorf("%q, %v", out, err)
	}
	same, err := New(newRing(t)).Decode([]*commonpb.Payload{plain, {}})
	if err != nil || same[0] != plain || len(same) != 2 {
		t.Errorf("%v, %v", same, err)
	}
}

func TestOldKeyStillDecodesAndKeyIDIsShown(t *testing.T) {
	t.Parallel()
	old := newRing(t)
	payload, err := DataConverter(old).ToPayload("from before")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(payload.Metadata[MetadataKeyID]); got != old.ActiveID() {
		t.Errorf("key id in metadata = %q", got)
	}
	rotated, err := old.WithNewKey()
	if err != nil {
		t.Fatal(err)
	}
	var out string
	if err := DataConverter(rotated).FromPayload(payload, &out); err != nil || out != "from before" {
		t.Errorf("%q, %v", out, err)
	}
	fresh, err := DataConverter(rotated).ToPayload("from after")
	if err != nil || string(fresh.Metadata[MetadataKeyID]) != rotated.ActiveID() {
		t.Errorf("new payloads use key %q, %v", fresh.Metadata[MetadataKeyID], err)
	}
	if err := DataConverter(old).FromPayload(fresh, &out); !errors.Is(err, vault.ErrUnknownKey) {
		t.Errorf("without the new key: %v", err)
	}
}

func TestWhatCannotBeOpenedIsAnErrorWithoutContent(t *testing.T) {
	t.Parallel()
	ring := newRing(t)
	dc := DataConverter(ring)
	seal := func() *commonpb.Payload {
		p, err := dc.ToPayload("Perrin")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	wrong, err := vault.ParseKeys(ring.ActiveID() + ":" + strings.SplitN(newRing(t).Encode(), ":", 2)[1])
	if err != nil {
		t.Fatal(err)
	}
	flipped, cut, foreign := seal(), seal(), seal()
	flipped.Data[len(flipped.Data)-20] ^= 1
	cut.Data = cut.Data[:10]
	foreign.Data = ring.Org("org").Seal([]byte("sealed for a table"), "payload v1")
	renamed := seal()
	renamed.Metadata[MetadataKeyID] = []byte("another")
	for name, c := range map[string]struct {
		dc   converter.DataConverter
		p    *commonpb.Payload
		want error
	}{
		"wrong key":          {DataConverter(wrong), seal(), vault.ErrWrongKey},
		"unknown key":        {DataConverter(newRing(t)), seal(), vault.ErrUnknownKey},
		"flipped bit":        {dc, flipped, vault.ErrTampered},
		"cut short":          {dc, cut, vault.ErrFormat},
		"no data":            {dc, &commonpb.Payload{Metadata: flipped.Metadata}, vault.ErrFormat},
		"other sealed value": {dc, foreign, vault.ErrTampered},
	} {
		out := "untouched"
		err := c.dc.FromPayload(c.p, &out)
		if !errors.Is(err, c.want) || out != "untouched" {
			t.Errorf("%s: %v (value %q)", name, err, out)
		}
		if err != nil && strings.Contains(err.Error(), "Perrin") {
			t.Errorf("%s: content in %v", name, err)
		}
	}
	var out string
	if err := dc.FromPayload(renamed, &out); err != nil || out != "Perrin" {
		t.Errorf("the key id in the metadata must not matter: %q, %v", out, err)
	}
}

func TestFailuresAreUnreadableAndComeBack(t *testing.T) {
	t.Parallel()
	ring := newRing(t)
	fc := FailureConverter(ring)
	cause := temporal.NewNonRetryableApplicationError("calendar of Perrin refused", "permanent", errors.New("inner Oduya"), input{Note: "detail Perrin"})
	failure := fc.ErrorToFailure(fmt.Errorf("apply change for Perrin: %w", cause))
	stored, err := proto.Marshal(failure)
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := protojson.Marshal(failure)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"Perrin", "Oduya", "calendar of", "codec_test"} {
		if bytes.Contains(stored, []byte(word)) || bytes.Contains(asJSON, []byte(word)) {
			t.Errorf("%q is readable in the stored failure", word)
		}
	}
	walked := 0
	for f := failure; f != nil; f = f.Cause {
		walked++
		if f.EncodedAttributes == nil || f.StackTrace != "" {
			t.Errorf("failure %d is not sealed: %v", walked, f.Message)
		}
	}
	if walked < 2 {
		t.Errorf("only %d failures in the chain", walked)
	}
	back := fc.FailureToError(proto.Clone(failure).(*failurepb.Failure))
	if !strings.Contains(back.Error(), "apply change for Perrin") {
		t.Errorf("message lost: %v", back)
	}
	var app *temporal.ApplicationError
	found := false
	var detail input
	for err := back; errors.As(err, &app); err = app.Unwrap() {
		if app.Type() == "permanent" {
			found = true
			if err := app.Details(&detail); err != nil || detail.Note != "detail Perrin" {
				t.Errorf("details: %+v, %v", detail, err)
			}
		}
	}
	if !found {
		t.Error("type by which retries are decided is lost")
	}
	if other := FailureConverter(newRing(t)).FailureToError(failure); strings.Contains(other.Error(), "Perrin") {
		t.Errorf("readable without the key: %v", other)
	}
}

func BenchmarkEncodeDecode1KiB(b *testing.B) {
	c := New(newRing(b))
	in := []*commonpb.Payload{{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: make([]byte, 1024)}}
	b.ReportAllocs()
	for b.Loop() {
		sealed, err := c.Encode(in)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.Decode(sealed); err != nil {
			b.Fatal(err)
		}
	}
}
