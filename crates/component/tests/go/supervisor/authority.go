package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// valid is how long a certificate holds.
const valid = 10 * 365 * 24 * time.Hour

// authority makes certificates: with RSA keys in the old form, as agents in Go do.
type authority struct {
	certificate *x509.Certificate
	key         *rsa.PrivateKey
	pem         []byte
}

// pair is a certificate and its key, both PEM.
type pair struct {
	certificate, key []byte
}

func serial() *big.Int {
	number, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		panic(err)
	}
	return number
}

func newAuthority() (*authority, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		DNSNames:              []string{"localhost"},
		Subject:               pkix.Name{Organization: []string{"elastic-fleet"}, CommonName: "localhost"},
		NotBefore:             time.Now(),
		NotAfter:              time.Now().Add(valid),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return &authority{certificate: certificate, key: key, pem: text}, nil
}

// make a pair for a name: for both sides of a connection.
func (a *authority) make(name string) (pair, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return pair{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		DNSNames:     []string{name},
		Subject:      pkix.Name{Organization: []string{"elastic-fleet"}, CommonName: name},
		NotBefore:    time.Now(),
		NotAfter:     time.Now().Add(valid),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		return pair{}, err
	}
	return pair{
		certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:         pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
	}, nil
}

// newName is the name of a component in its certificate.
func newName() string {
	bytes := make([]byte, 16)
	// Never fails.
	_, _ = rand.Read(bytes)
	return hex.EncodeToString(bytes)
}

// tlsConfig shows the certificate of the name that is asked for, and wants one of the authority.
func (a *authority) tlsConfig(name string, own pair) (*tls.Config, error) {
	certificate, err := tls.X509KeyPair(own.certificate, own.key)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.certificate)
	return &tls.Config{
		ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs:  roots,
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if hello.ServerName != name {
				return nil, fmt.Errorf("%q is no component", hello.ServerName)
			}
			return &certificate, nil
		},
	}, nil
}
