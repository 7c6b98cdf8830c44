// Package chunks sends large messages in pieces and puts them together again.
package chunks

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"fleet.test/component/wire"
)

// groups are units that fit together, each group below max bytes; a message that fits is one group.
func groups[U proto.Message](size, max int, units []U) [][]U {
	if size <= max || len(units) < 2 {
		return [][]U{units}
	}
	var all [][]U
	var current []U
	filled := 0
	for _, unit := range units {
		// The first piece has all that is no unit, too: half of the room is left for that.
		if size := proto.Size(unit) + 8; len(current) > 0 && filled+size > max/2 {
			all, current, filled = append(all, current), nil, 0
		}
		current = append(current, unit)
		filled += proto.Size(unit) + 8
	}
	return append(all, current)
}

// Observed returns the messages to send for this one.
func Observed(message *wire.Observed, max int) []*wire.Observed {
	parts := groups(proto.Size(message), max, message.Units)
	if len(parts) == 1 {
		return []*wire.Observed{message}
	}
	now := timestamppb.New(time.Now())
	var pieces []*wire.Observed
	for index, part := range parts {
		piece := &wire.Observed{Token: message.Token}
		if index == 0 {
			piece = proto.Clone(message).(*wire.Observed)
		}
		piece.Units, piece.UnitsTimestamp = part, now
		pieces = append(pieces, piece)
	}
	return append(pieces, &wire.Observed{Token: message.Token, UnitsTimestamp: now})
}

// Expected returns the messages to send for this one.
func Expected(message *wire.Expected, max int) []*wire.Expected {
	parts := groups(proto.Size(message), max, message.Units)
	if len(parts) == 1 {
		return []*wire.Expected{message}
	}
	now := timestamppb.New(time.Now())
	var pieces []*wire.Expected
	for index, part := range parts {
		piece := &wire.Expected{}
		if index == 0 {
			piece = proto.Clone(message).(*wire.Expected)
		}
		piece.Units, piece.UnitsTimestamp = part, now
		pieces = append(pieces, piece)
	}
	return append(pieces, &wire.Expected{UnitsTimestamp: now})
}

// Pending is a message of which not all pieces have come.
type Pending struct {
	message *wire.Expected
}

// Take takes a message and returns it if it is whole, or the whole that it was the end of.
func (p *Pending) Take(message *wire.Expected) *wire.Expected {
	if message.UnitsTimestamp == nil {
		p.message = nil
		return message
	}
	at := message.UnitsTimestamp.AsTime()
	if p.message == nil || at.After(p.message.UnitsTimestamp.AsTime()) {
		p.message = message
		return nil
	}
	if at.Before(p.message.UnitsTimestamp.AsTime()) {
		return nil
	}
	if len(message.Units) == 0 {
		whole := p.message
		p.message = nil
		return whole
	}
	p.message.Units = append(p.message.Units, message.Units...)
	return nil
}
