package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/clientaddr"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// selfSigned makes a certificate that is good around now.
func selfSigned(t *testing.T, now time.Time) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hooks"}, NotBefore: now.Add(-time.Hour),
		NotAfter: now.Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// TestClientCertificatesCountOnlyFromATrustedProxy sends forwarded certificates over HTTP: through a proxy that the server
// trusts, and from somebody who only writes the header.
func TestClientCertificatesCountOnlyFromATrustedProxy(t *testing.T) {
	t.Parallel()
	const header = "Client-Cert"
	rigWith := func(trusted ...string) (*intakeRig, domain.IntegrationID, *x509.Certificate) {
		list, err := clientaddr.ParseTrusted(trusted)
		if err != nil {
			t.Fatal(err)
		}
		senders, err := clientaddr.New(clientaddr.Options{Trusted: list, CertHeader: header,
			ParseCert: func(v string) (*x509.Certificate, error) {
				return webhookauth.ParseClientCert(webhookauth.CertRFC9440, v)
			}})
		if err != nil {
			t.Fatal(err)
		}
		rig := newIntakeRig(t, IntakeLimits{}, func(d *IntakeDeps) { d.Senders = senders })
		cert := selfSigned(t, *rig.now.Load())
		pin := sha256.Sum256(cert.Raw)
		id := rig.add(func(r *store.IntakeRecord) {
			r.Integration.Settings = json.RawMessage(`{"base_url":"https://crm.example","mapping":{"external_id":"item.id","category":"'hold'","start":"'2027-06-05'","end":"'2027-06-06'"},
				"webhook":{"verify":{"scheme":"client-certificate"}}}`)
			r.Secrets = map[string]string{"webhook_secret": "sha256:" + hex.EncodeToString(pin[:])}
		})
		return rig, id, cert
	}
	forwarded := func(c *x509.Certificate) string { return ":" + base64.StdEncoding.EncodeToString(c.Raw) + ":" }
	send := func(rig *intakeRig, id domain.IntegrationID, certs ...string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, rig.url+string(id), strings.NewReader(`{"id":"1"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		for _, c := range certs {
			req.Header.Add(header, c)
		}
		return post(t, req).Status
	}

	rig, id, cert := rigWith("127.0.0.0/8", "::1")
	other := selfSigned(t, *rig.now.Load())
	for name, c := range map[string]struct {
		certs []string
		want  int
	}{
		"none":                {nil, 401},
		"another certificate": {[]string{forwarded(other)}, 401},
		"twice":               {[]string{forwarded(cert), forwarded(cert)}, 401},
		"garbage":             {[]string{"::"}, 401},
		"the certificate":     {[]string{forwarded(cert)}, 202},
	} {
		if got := send(rig, id, c.certs...); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if got := send(rig, id, forwarded(cert)); got != 200 {
		t.Errorf("a repeat: %d, want 200", got)
	}
	rig.at(rig.now.Load().Add(2 * time.Hour))
	if got := send(rig, id, forwarded(cert)); got != 401 {
		t.Errorf("an expired certificate: %d, want 401", got)
	}

	stranger, id, cert := rigWith("192.0.2.1")
	if got := send(stranger, id, forwarded(cert)); got != 401 {
		t.Errorf("the header from a peer that is no trusted proxy: %d, want 401", got)
	}
	if n := stranger.stored(); n != 0 {
		t.Errorf("%d webhooks of a stranger were stored", n)
	}
}
