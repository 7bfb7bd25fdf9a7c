package sample

import (
	"fmt"
	"strings"
	"time"
)

// customer fills in who the order is for. Tills seldom know.
func (d *draw) customer() {
	if d.order.Channel == "pos" && d.percent(75) || d.percent(4) {
		return
	}
	p := d.place
	family, given := one(d, p.family), one(d, p.given)
	c := &Customer{Name: given + p.between + family}
	if p.familyFirst {
		c.Name = family + p.between + given
	}
	if d.percent(85) {
		c.Email = fmt.Sprintf("%s%d@%s", one(d, []string{"kunde", "user.", "shop+", "me-", "info_"}), d.IntN(100_000), one(d, []string{"example.com", "mail.example.org", "example.net"}))
	}
	if d.percent(70) {
		c.Phone = d.digits(p.phone)
	}
	if d.business.shipped || d.percent(50) {
		c.Address = d.address()
	}
	d.order.Customer = c
}

func (d *draw) address() *Address {
	p := d.place
	at := one(d, p.cities)
	street, house := one(d, p.streets), fmt.Sprint(1+d.IntN(240))
	a := &Address{Line1: street + " " + house, City: at.name, Region: at.region, PostalCode: d.digits(at.postal), Country: p.country}
	if p.houseFirst {
		a.Line1 = house + " " + street
	}
	if d.percent(20) {
		a.Line2 = one(d, []string{"c/o Søren Ødegård", "Apt 4B", "3. OG links", "2号楼3单元", "الطابق الثالث", "B棟 502号室", "🏠 rear building"})
	}
	return a
}

// digits puts a random digit for each 9, and never makes what could be taken for a card number.
func (d *draw) digits(pattern string) string {
	for {
		text := strings.Map(func(r rune) rune {
			if r == '9' {
				return rune('0' + d.IntN(10))
			}
			return r
		}, pattern)
		if !looksLikeCard(text) {
			return text
		}
	}
}

// looksLikeCard tells whether 13 to 19 digits of the text, whatever stands between them, have a right check digit.
func looksLikeCard(text string) bool {
	var digits []int
	for _, r := range text {
		if r >= '0' && r <= '9' {
			digits = append(digits, int(r-'0'))
		}
	}
	for from := range digits {
		for to := from + 13; to <= min(from+19, len(digits)); to++ {
			if luhn(digits[from:to]) {
				return true
			}
		}
	}
	return false
}

func luhn(digits []int) bool {
	sum := 0
	for i, n := range digits {
		if (len(digits)-i)%2 == 0 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return sum%10 == 0
}

// attributes fills in what the kind of work needs, and gift notes.
func (d *draw) attributes() {
	a := d.order.Attributes
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, d.IntN(700))
	switch d.business.name {
	case "hotel":
		a["check_in"] = day.Format(time.DateOnly)
		a["check_out"] = day.AddDate(0, 0, int(d.order.Lines[0].Quantity)).Format(time.DateOnly)
		a["guests"] = map[string]any{"adults": 1 + d.IntN(4), "children": d.IntN(3)}
		a["board"] = one(d, []string{"room_only", "breakfast", "half_board"})
	case "grocery.delivery", "restaurant":
		from := day.Add(time.Duration(8+d.IntN(12)) * time.Hour)
		a["window"] = map[string]any{"from": from.Format(time.RFC3339), "to": from.Add(2 * time.Hour).Format(time.RFC3339)}
		a["substitutions"] = d.percent(50)
	case "print_on_demand":
		a["artwork"] = fmt.Sprintf("https://art.example.com/%s/%d.png", letters(d.Uint64(), 6), d.IntN(1000))
		a["dpi"] = one(d, []int{150, 300, 600})
	case "event.tickets":
		a["seats"] = []string{fmt.Sprintf("A%d", 1+d.IntN(40)), fmt.Sprintf("A%d", 41+d.IntN(40))}
		a["date"] = day.Format(time.DateOnly)
	case "digital.license":
		a["license"] = map[string]any{"devices": 1 + d.IntN(5), "auto_renew": d.percent(40)}
	case "spare_parts.b2b", "wms":
		a["purchase_order"] = fmt.Sprintf("PO-%s-%d", letters(d.Uint64(), 4), d.IntN(100_000))
		a["incoterms"] = one(d, []string{"EXW", "DAP", "DDP"})
	}
	if d.percent(22) {
		a["note"] = one(d, d.place.notes)
	}
	if d.business.shipped && d.percent(8) {
		a["gift"] = map[string]any{"wrap": d.percent(50), "message": one(d, d.place.notes) + one(d, []string{"", " 👨‍👩‍👧‍👦", " 🎀", " ♥︎"})}
	}
}
