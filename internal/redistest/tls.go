package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// StartTLS runs a server that speaks TLS only, with a certificate made for this test, valid for 127.0.0.1 and localhost.
// Server.TLS trusts it; clients need no certificate. CAFile in Server.Dir is "ca.crt".
func StartTLS(t testing.TB, args ...string) *Server {
	t.Helper()
	return startTLS(t, "no", args)
}

// StartMutualTLS is StartTLS with a server that wants a certificate of its clients, signed by Server.CA. Server.TLS has one.
func StartMutualTLS(t testing.TB, args ...string) *Server {
	t.Helper()
	return startTLS(t, "yes", args)
}

func startTLS(t testing.TB, authClients string, args []string) *Server {
	t.Helper()
	s := &Server{t: t, Dir: t.TempDir(), CA: NewAuthority(t)}
	writePEM(t, filepath.Join(s.Dir, "ca.crt"), "CERTIFICATE", s.CA.cert.Raw)
	s.CA.writeServer(t, s.Dir)
	s.TLS = &tls.Config{RootCAs: s.CA.Pool(), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	if authClients == "yes" {
		s.TLS.Certificates = []tls.Certificate{s.CA.Client(t, time.Now().Add(24*time.Hour))}
	}
	s.args = func(port string) []string {
		return append([]string{
			"--port", "0", "--tls-port", port, "--bind", "127.0.0.1", "--save", "", "--dir", s.Dir, "--logfile", s.log(),
			"--tls-cert-file", filepath.Join(s.Dir, "server.crt"), "--tls-key-file", filepath.Join(s.Dir, "server.key"),
			"--tls-ca-cert-file", filepath.Join(s.Dir, "ca.crt"), "--tls-auth-clients", authClients,
		}, args...)
	}
	return s.run("rediss://")
}

// Authority is a certificate authority made for a test.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes one that nobody trusts yet.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{key: newKey(t)}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redistest CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert = parse(t, a.sign(t, c, c, a.key))
	return a
}

// Pool trusts the authority.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Client makes a certificate for a client, valid from two hours ago until expires.
func (a *Authority) Client(t testing.TB, expires time.Time) tls.Certificate {
	t.Helper()
	key := newKey(t)
	der := a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "redistest client"},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: expires,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, a.cert, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// writeServer makes a certificate for a server, with its key.
func (a *Authority) writeServer(t testing.TB, dir string) {
	key := newKey(t)
	der := a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "redistest"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, a.cert, key)
	writePEM(t, filepath.Join(dir, "server.crt"), "CERTIFICATE", der)
	der, err := x509.MarshalECPrivateKey(key)
	check(t, err)
	writePEM(t, filepath.Join(dir, "server.key"), "EC PRIVATE KEY", der)
}

func (a *Authority) sign(t testing.TB, c, parent *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, a.key)
	check(t, err)
	return der
}

func parse(t testing.TB, der []byte) *x509.Certificate {
	c, err := x509.ParseCertificate(der)
	check(t, err)
	return c
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	return k
}

func writePEM(t testing.TB, file, kind string, der []byte) {
	check(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
}
