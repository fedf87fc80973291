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
	s := &Server{t: t, Dir: t.TempDir()}
	s.TLS = &tls.Config{RootCAs: writeCerts(t, s.Dir), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	s.args = func(port string) []string {
		return append([]string{
			"--port", "0", "--tls-port", port, "--bind", "127.0.0.1", "--save", "", "--dir", s.Dir, "--logfile", s.log(),
			"--tls-cert-file", filepath.Join(s.Dir, "server.crt"), "--tls-key-file", filepath.Join(s.Dir, "server.key"),
			"--tls-ca-cert-file", filepath.Join(s.Dir, "ca.crt"), "--tls-auth-clients", "no",
		}, args...)
	}
	return s.run("rediss://")
}

// writeCerts makes a certificate authority and a server certificate signed by it.
func writeCerts(t testing.TB, dir string) *x509.CertPool {
	t.Helper()
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redistest CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "redistest"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	caKey, serverKey := newKey(t), newKey(t)
	caDER := writeCert(t, filepath.Join(dir, "ca.crt"), ca, ca, &caKey.PublicKey, caKey)
	writeCert(t, filepath.Join(dir, "server.crt"), server, ca, &serverKey.PublicKey, caKey)
	der, err := x509.MarshalECPrivateKey(serverKey)
	check(t, err)
	writePEM(t, filepath.Join(dir, "server.key"), "EC PRIVATE KEY", der)

	parsed, err := x509.ParseCertificate(caDER)
	check(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return pool
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	return k
}

func writeCert(t testing.TB, file string, c, parent *x509.Certificate, pub *ecdsa.PublicKey, signer *ecdsa.PrivateKey) []byte {
	der, err := x509.CreateCertificate(rand.Reader, c, parent, pub, signer)
	check(t, err)
	writePEM(t, file, "CERTIFICATE", der)
	return der
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
