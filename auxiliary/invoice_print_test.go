package auxiliary

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
)

func worldInvoice() *Invoice {
	line := func(sku, name string) billLine {
		return billLine{LineID: sku, SKU: sku, Name: name, Quantity: 2, UnitPrice: 123450, Net: 246900, Tax: 24690, Total: 271590}
	}
	return &Invoice{
		Number: "INV-000001", Kind: invoiceRecord, Date: noon(), Seller: InvoiceSeller{Tenant: "demo", Name: "茶の店 Teahouse"},
		OrderID: "0197f3a0-0000-7000-8000-000000000001", Channel: "web", ExternalRef: "W-1", Currency: "KWD", MinorDigits: 3,
		Customer: &events.Customer{Name: "محمد الأحمد", Address: &events.Address{Line1: "شارع السلام 12", City: "الكويت", Country: "KW"}},
		Lines: []billLine{
			line("zh-1", "王小明的发票与龍井茶葉"), line("ja-1", "東京の紅茶カップ"), line("ar-1", "فنجان قهوة (كبير) 250 مل"),
			line("he-1", "כוס קפה גדולה"), line("th-1", "ถ้วยชาน้ำผึ้งที่สวยงาม"), line("ko-1", "한국 녹차 잔"), line("la-1", "Crème brûlée – Łódź, Ελλάδα, Чай"),
			line("mix", "Cup كوب 杯 <script>alert(1)</script> 🎁"), line("long", "Extraordinarily long product name that has to be wrapped somewhere in the middle of it Donaudampfschifffahrtsgesellschaftskapitän"),
		},
		Shipping: 5000, Net: 2222100, Tax: 222210, Total: 2449310,
	}
}

func TestLook(t *testing.T) {
	faces, err := loadTypefaces()()
	require.NoError(t, err)
	b, err := pdfOf(worldInvoice(), faces)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile("/tmp/w/inv/look.pdf", b, 0o600))
}
