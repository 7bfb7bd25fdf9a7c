package sample

import (
	"fmt"
	"slices"
)

// business is a kind of work, and how its orders are.
type business struct {
	name      string
	prefix    string // of its SKUs
	wholesale bool   // quantities of up to 500
	single    bool   // one or two lines: nobody books forty rooms
	shipped   bool
	provider  string
	title     string // of the provider
	regions   []string
}

// businesses are all business types. Each has a provider that serves every region of the places.
func businesses() []business {
	asia := []string{"cn-east", "cn-south", "jp-kanto", "jp-kansai", "kr-seoul", "in-north", "in-south"}
	return []business{
		{name: "retail.erp", prefix: "RT", shipped: true, provider: "northwind-erp", title: "Northwind ERP"},
		{name: "wms", prefix: "WH", wholesale: true, shipped: true, provider: "silo-wms", title: "Silo Warehouses"},
		{name: "hotel", prefix: "HT", single: true, provider: "lantern-hotels", title: "Lantern Hotels 灯笼酒店"},
		{name: "grocery.delivery", prefix: "GR", provider: "basket-runners", title: "Basket Runners"},
		{name: "print_on_demand", prefix: "PD", shipped: true, provider: "inkpot", title: "Inkpot Print Works"},
		{name: "florist", prefix: "FL", single: true, provider: "bloom-room", title: "Bloom Room"},
		{name: "electronics", prefix: "EL", shipped: true, provider: "volt-asia", title: "ボルト Volt", regions: asia},
		{name: "event.tickets", prefix: "TK", single: true, provider: "box-office", title: "Box Office"},
		{name: "digital.license", prefix: "DL", single: true, provider: "keysmith", title: "Keysmith"},
		{name: "furniture", prefix: "FU", shipped: true, provider: "oak-and-iron", title: "Oak & Iron"},
		{name: "restaurant", prefix: "RS", provider: "hot-kitchens", title: "Hot Kitchens مطابخ"},
		{name: "spare_parts.b2b", prefix: "SP", wholesale: true, shipped: true, provider: "cogworks", title: "Cogworks"},
	}
}

// item is a product: its price is in euro cents, before it becomes one of a place.
type item struct {
	business string
	sku      string
	name     string
	price    int64
	vendor   string
}

// goods are names and prices in euro cents, by business type.
func goods(name string) map[string]int64 {
	switch name {
	case "retail.erp":
		return map[string]int64{"Enamel mug ☕": 1290, "Notebook A5, dotted": 890, "保温杯 500ml": 2490, "Umbrella, wind-proof": 3490, "手ぬぐい 青海波": 1450, "Scarf „Nordlicht“": 4990, "Wool socks (3 pairs)": 1990, "中国结挂饰": 690, "Candle, cedar & salt": 2190, "Backpack 22 L": 7990, "سجادة صغيرة": 3890, "Ceramic bowl, ⌀ 18 cm": 1750}
	case "wms":
		return map[string]int64{"Carton 400x300x200": 89, "Stretch film 23 µm": 650, "Pallet, EUR/EPAL": 1490, "Label roll 100x150": 1120, "Tape, paper, brown": 210, "Gloves, size 9": 340, "Void fill, 200 L": 990, "周转箱 60x40": 1250, "Zip bag 20x30 (100)": 430, "Strapping 16 mm": 2890}
	case "hotel":
		return map[string]int64{"Double room, sea view": 18900, "单人房 含早餐": 9900, "和室 八畳": 21000, "Suite « Lumière »": 39500, "غرفة عائلية": 15900, "Dorm bed": 2900, "Tatami twin 🏯": 17500, "हेरिटेज कक्ष": 12400}
	case "grocery.delivery":
		return map[string]int64{"Bananas, 1 kg 🍌": 199, "Milk 3.5 %, 1 L": 129, "有机豆腐 400g": 210, "Sourdough loaf": 450, "Eggs, 10": 329, "बासमती चावल 5 kg": 1290, "Tomatoes on the vine": 299, "味噌 750g": 590, "زيت زيتون ١ لتر": 1190, "Espresso beans 1 kg": 1690, "Kimchi 김치 500 g": 690, "Oat drink": 199, "Parmesan 200 g": 649, "Dates تمر مجدول 500 g": 899}
	case "print_on_demand":
		return map[string]int64{"T-shirt, black, M": 2190, "Poster 50x70": 2490, "Mug with photo 📷": 1590, "Tote bag": 1290, "Sticker sheet ✨": 490, "Hoodie, grey, XL": 4490, "Canvas 80x60": 6990, "Calendar, wall": 2290}
	case "florist":
		return map[string]int64{"Bouquet „Sommer“ 💐": 3990, "24 roses 🌹": 6900, "Orchid 胡蝶蘭": 8900, "Wreath": 7900, "Vase, clear": 1900, "باقة الياسمين": 4500}
	case "electronics":
		return map[string]int64{"Headphones X2": 14900, "USB-C cable 2 m": 1290, "スマホケース": 2490, "Power bank 20 Ah": 3990, "智能手环": 4990, "Keyboard, ISO-DE": 8990, "SSD 2 TB": 15900, "게이밍 마우스": 5490, "Webcam 4K": 11900, "Smart bulb E27 💡": 1490}
	case "event.tickets":
		return map[string]int64{"Concert, row A": 9500, "相声专场": 4200, "Museum, adult": 1800, "Match, north stand ⚽": 5500, "歌舞伎 一等席": 16000, "Festival, 3 days 🎪": 19900}
	case "digital.license":
		return map[string]int64{"Photo editor, 1 year": 5990, "Antivirus, 3 devices": 2990, "Game key 🎮": 4999, "E-book bundle": 1490, "字体授权 (商用)": 12900}
	case "furniture":
		return map[string]int64{"Bookcase „Ivar II“": 12900, "Desk, oak, 160x80": 45900, "Chair, upholstered": 19900, "Floor lamp": 8990, "榻榻米床架": 38900, "Side table ⌀ 45": 7990, "Rug 200x300 سجادة": 29900}
	case "restaurant":
		return map[string]int64{"Pizza Margherita 🍕": 990, "麻婆豆腐": 1150, "ラーメン 醤油": 1290, "شاورما دجاج": 790, "मसाला डोसा": 690, "Falafel plate 🧆": 890, "Phở bò": 1190, "Kimchi jjigae 김치찌개": 1250, "Lemonade, mint": 390, "Tiramisù": 590}
	case "spare_parts.b2b":
		return map[string]int64{"Bearing 6204-2RS": 320, "V-belt SPZ 1250": 890, "Seal Ø 25x40x7": 145, "Screw M8x40, A2 (100)": 1290, "液压软管 1/2\"": 2390, "Filter element HF-30": 3450, "Gasket, copper": 35, "Motor 0,75 kW": 21900, "Sensor PT100": 4290}
	}
	return nil
}

// catalog is every product, the same each time.
func catalog() []item {
	var all []item
	for _, b := range businesses() {
		prices := goods(b.name)
		names := make([]string, 0, len(prices))
		for name := range prices {
			names = append(names, name)
		}
		slices.Sort(names)
		for i, name := range names {
			all = append(all, item{
				business: b.name, sku: fmt.Sprintf("%s-%03d", b.prefix, 101+i*7), name: name, price: prices[name],
				vendor: vendors()[(i+len(b.name))%len(vendors())].ID,
			})
		}
	}
	return all
}

func vendors() []Vendor {
	return []Vendor{
		{ID: "acme-trade", Name: "Acme Trade GmbH", Email: "orders@acme.example.com"},
		{ID: "huaxia", Name: "华夏供应链有限公司", Email: "po@huaxia.example.com"},
		{ID: "sakura-foods", Name: "さくら食品株式会社", Email: "juchu@sakura.example.com"},
		{ID: "al-noor", Name: "شركة النور للتجارة", Email: "sales@alnoor.example.com"},
		{ID: "bharat-goods", Name: "भारत गुड्स प्रा. लि.", Email: "orders@bharat.example.com"},
		{ID: "lumiere", Name: "Maison Lumière S.A.", Email: "commandes@lumiere.example.com"},
	}
}
