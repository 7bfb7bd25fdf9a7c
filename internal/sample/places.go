package sample

// place is where an order comes from: it decides on currency, language and marketplaces.
type place struct {
	code         string
	weight       int
	currency     string
	decimals     int
	rate         float64 // units of the currency for one euro
	step         int64   // prices are multiples of it, in minor units
	tax          int64   // per mille
	regions      []string
	marketplaces []string
	family       []string
	given        []string
	familyFirst  bool
	between      string // the two names
	streets      []string
	houseFirst   bool
	cities       []city
	country      string
	phone        string // each 9 is any digit
	notes        []string
}

type city struct{ name, region, postal string } // in postal, each 9 is any digit

// places are roughly in order of their share.
func places() []place {
	return append(append(western(), eastern()...), southern()...)
}

func western() []place {
	return []place{
		{
			code: "DE", weight: 12, currency: "EUR", decimals: 2, rate: 1, step: 5, tax: 190, regions: []string{"eu-central", "eu-west"},
			marketplaces: []string{"amazon.de", "otto", "zalando", "ebay"}, between: " ", country: "DE", phone: "+49 30 9999999",
			family: []string{"Müller", "Schröder", "Weiß", "von der Höhe", "Yılmaz", "Krüger"}, given: []string{"Jürgen", "Anneliese", "Zoë", "Mehmet", "Lena 🌸", "Björn"},
			streets: []string{"Hauptstraße", "Am Königsplatz", "Straße des 17. Juni", "Große Bleichen"},
			cities:  []city{{"Köln", "NW", "50999"}, {"München", "BY", "80999"}, {"Görlitz", "SN", "02899"}},
			notes:   []string{"Bitte beim Nachbarn abgeben", "Alles Gute zum Geburtstag! 🎂", "Klingel defekt, bitte klopfen"},
		},
		{
			code: "FR", weight: 7, currency: "EUR", decimals: 2, rate: 1, step: 10, tax: 200, regions: []string{"eu-west"},
			marketplaces: []string{"cdiscount", "fnac", "amazon.fr"}, between: " ", country: "FR", phone: "+33 1 99 99 99 99", houseFirst: true,
			family: []string{"Lefèvre", "D’Arcy-Noël", "Garçon", "Ümit", "Bœuf"}, given: []string{"François", "Zélie", "Anaïs", "Loïc", "Maëlle"},
			streets: []string{"rue de l’Église", "boulevard Saint-Michel", "allée des Tilleuls"},
			cities:  []city{{"Orléans", "CVL", "45000"}, {"Besançon", "BFC", "25000"}, {"Nîmes", "OCC", "30900"}},
			notes:   []string{"Joyeux anniversaire, mémé ! 🥂", "Laisser chez le gardien", "Digicode : à demander"},
		},
		{
			code: "US", weight: 14, currency: "USD", decimals: 2, rate: 1.08, step: 1, tax: 82, regions: []string{"us-east", "us-west"},
			marketplaces: []string{"amazon.com", "walmart", "etsy", "ebay", "doordash"}, between: " ", country: "US", phone: "+1 555 999 9999", houseFirst: true,
			family: []string{"O'Donnell", "Washington-Smith", "Nguyen", "García", "Kowalczyk"}, given: []string{"Sean", "Mary-Jane", "DeShawn", "Aiko", "Xavier 🤠", "Li"},
			streets: []string{"Main St", "Martin Luther King Jr Blvd", "W 4th Ave", "Old Mill Rd"},
			cities:  []city{{"Henderson", "Kentucky", "42420"}, {"Los Angeles", "California", "90999"}, {"Coeur d'Alene", "Idaho", "83899"}},
			notes:   []string{"Leave at the back door, dog is friendly 🐕", "Happy graduation, Sam! 🎓🎉", "Gate code: call first", "no onions pls"},
		},
		{
			code: "GB", weight: 6, currency: "GBP", decimals: 2, rate: 0.85, step: 1, tax: 200, regions: []string{"eu-west"},
			marketplaces: []string{"amazon.co.uk", "ebay", "etsy", "deliveroo"}, between: " ", country: "GB", phone: "+44 20 7999 9999", houseFirst: true,
			family: []string{"Smythe", "Llewellyn-Jones", "McTavish", "Okafor"}, given: []string{"Siân", "Alasdair", "Priya", "Chloë"},
			streets: []string{"High Street", "St. John’s Wood Road", "Mews Lane"},
			cities:  []city{{"Llanfairpwllgwyngyll", "Wales", "LL99 9AA"}, {"Leeds", "West Yorkshire", "LS9 9JT"}},
			notes:   []string{"Please leave in the shed ☔", "Get well soon x"},
		},
		{
			code: "PL", weight: 4, currency: "PLN", decimals: 2, rate: 4.3, step: 9, tax: 230, regions: []string{"eu-central"},
			marketplaces: []string{"allegro", "empik"}, between: " ", country: "PL", phone: "+48 999 999 999",
			family: []string{"Łukaszewicz", "Żółć", "Wiśniewska"}, given: []string{"Grzegorz", "Świętosława", "Paweł"},
			streets: []string{"ul. Święty Marcin", "al. Róż"}, cities: []city{{"Łódź", "łódzkie", "90-999"}, {"Poznań", "wielkopolskie", "61-999"}},
			notes: []string{"Proszę dzwonić domofonem", "Sto lat! 🎈"},
		},
		{
			code: "BR", weight: 5, currency: "BRL", decimals: 2, rate: 5.9, step: 10, tax: 170, regions: []string{"latam"},
			marketplaces: []string{"mercadolibre", "magalu", "casasbahia"}, between: " ", country: "BR", phone: "+55 11 9999-9999",
			family: []string{"da Conceição", "Gonçalves", "dos Santos Araújo"}, given: []string{"João", "Inês", "Thaís", "Antônio"},
			streets: []string{"Rua São João", "Avenida Paulista", "Travessa do Sabiá"}, cities: []city{{"São Paulo", "SP", "01999-999"}, {"Maceió", "AL", "57999-999"}},
			notes: []string{"Entregar na portaria", "Parabéns, vó! ❤️"},
		},
		{
			code: "CL", weight: 2, currency: "CLP", decimals: 0, rate: 1010, step: 990, tax: 190, regions: []string{"latam"},
			marketplaces: []string{"mercadolibre", "falabella"}, between: " ", country: "CL", phone: "+56 2 9999 9999",
			family: []string{"Núñez", "Muñoz Ibáñez"}, given: []string{"Begoña", "Íñigo"}, streets: []string{"Avenida Ñuñoa", "Calle Ñandú"},
			cities: []city{{"Concepción", "Biobío", "4039999"}}, notes: []string{"¿Pueden llamar antes?", "¡Feliz cumpleaños! 🎁"},
		},
	}
}

func eastern() []place {
	return []place{
		{
			code: "CN", weight: 14, currency: "CNY", decimals: 2, rate: 7.8, step: 10, tax: 130, regions: []string{"cn-east", "cn-south"},
			marketplaces: []string{"tmall", "jd", "pinduoduo", "wechat", "meituan"}, familyFirst: true, country: "CN", phone: "+86 138 9999 9999",
			family: []string{"张", "欧阳", "李", "诸葛", "𠮷", "王"}, given: []string{"伟", "秀英", "思远", "雨桐", "建国", "子涵🐼"},
			streets: []string{"人民路", "中山东一路", "软件园二期望海路", "建国门外大街"}, cities: []city{{"上海市", "上海", "200999"}, {"深圳市", "广东", "518999"}, {"厦门市", "福建", "361999"}},
			notes: []string{"请放在门口快递柜", "祝爷爷生日快乐 🎂🧧", "不要香菜,谢谢!", "送货前请电话联系"},
		},
		{
			code: "JP", weight: 9, currency: "JPY", decimals: 0, rate: 163, step: 10, tax: 100, regions: []string{"jp-kanto", "jp-kansai"},
			marketplaces: []string{"rakuten", "amazon.co.jp", "yahoo.jp", "mercari"}, familyFirst: true, between: " ", country: "JP", phone: "+81 3 9999 9999",
			family: []string{"山田", "髙橋", "渡邉", "小野寺", "スミス"}, given: []string{"太郎", "さくら", "ヒロシ", "美咲🌸", "蓮"},
			streets: []string{"千代田区丸の内一丁目", "大阪市北区梅田", "渋谷区神宮前"}, cities: []city{{"東京", "東京都", "100-9999"}, {"大阪", "大阪府", "530-9999"}},
			notes: []string{"お誕生日おめでとう🎂", "置き配でお願いします", "領収書を同封してください"},
		},
		{
			code: "KR", weight: 6, currency: "KRW", decimals: 0, rate: 1480, step: 100, tax: 100, regions: []string{"kr-seoul"},
			marketplaces: []string{"coupang", "gmarket", "11st", "naver"}, familyFirst: true, country: "KR", phone: "+82 10-9999-9999",
			family: []string{"김", "이", "박", "남궁"}, given: []string{"철수", "영희", "서연", "하준🎮"}, streets: []string{"테헤란로", "강남대로", "세종대로"},
			cities: []city{{"서울", "서울특별시", "06999"}, {"부산", "부산광역시", "48999"}}, notes: []string{"문 앞에 놓아주세요", "생일 축하해요 🎉"},
		},
		{
			code: "VN", weight: 2, currency: "VND", decimals: 0, rate: 27500, step: 1000, tax: 100, regions: []string{"default"},
			marketplaces: []string{"shopee", "lazada", "tiki"}, familyFirst: true, between: " ", country: "VN", phone: "+84 28 9999 9999",
			family: []string{"Nguyễn", "Trần", "Đặng"}, given: []string{"Thị Hồng Nhung", "Văn Đức", "Quỳnh"}, streets: []string{"đường Nguyễn Huệ", "phố Hàng Bông"},
			cities: []city{{"Hà Nội", "Hà Nội", "109999"}}, notes: []string{"Giao giờ hành chính", "Chúc mừng sinh nhật mẹ 💐"},
		},
		{
			code: "GR", weight: 2, currency: "EUR", decimals: 2, rate: 1, step: 10, tax: 240, regions: []string{"eu-central"},
			marketplaces: []string{"skroutz", "efood"}, between: " ", country: "GR", phone: "+30 21 9999 9999",
			family: []string{"Παπαδοπούλου", "Γεωργίου"}, given: []string{"Ελένη", "Νίκος"}, streets: []string{"Οδός Ερμού", "Λεωφόρος Αλεξάνδρας"},
			cities: []city{{"Αθήνα", "Αττική", "109 99"}}, notes: []string{"Χρόνια πολλά! 🎊", "Χτυπήστε το κουδούνι"},
		},
		{
			code: "UA", weight: 2, currency: "UAH", decimals: 2, rate: 44, step: 100, tax: 200, regions: []string{"eu-central"},
			marketplaces: []string{"rozetka", "prom"}, between: " ", country: "UA", phone: "+380 44 999 9999",
			family: []string{"Шевченко", "Ґалаґан"}, given: []string{"Оксана", "Юрій", "Їжакевич"}, streets: []string{"вулиця Хрещатик", "проспект Перемоги"},
			cities: []city{{"Київ", "Київ", "01999"}, {"Львів", "Львівська область", "79999"}}, notes: []string{"Зателефонуйте за годину", "З днем народження! 🌻"},
		},
	}
}

func southern() []place {
	return []place{
		{
			code: "IN", weight: 8, currency: "INR", decimals: 2, rate: 90, step: 100, tax: 180, regions: []string{"in-north", "in-south"},
			marketplaces: []string{"flipkart", "amazon.in", "myntra", "swiggy"}, between: " ", country: "IN", phone: "+91 98999 99999",
			family: []string{"शर्मा", "पटेल", "त्रिवेदी", "அருள்மொழி"}, given: []string{"प्रिया", "अर्जुन", "कृष्णमूर्ति", "தமிழ்ச்செல்வி"},
			streets: []string{"महात्मा गांधी मार्ग", "चाँदनी चौक", "MG Road"}, cities: []city{{"दिल्ली", "दिल्ली", "110099"}, {"சென்னை", "தமிழ்நாடு", "600099"}},
			notes: []string{"जन्मदिन मुबारक हो! 🪔", "कृपया घंटी न बजाएँ", "शाम छह बजे के बाद दें"},
		},
		{
			code: "KW", weight: 3, currency: "KWD", decimals: 3, rate: 0.33, step: 50, tax: 0, regions: []string{"gulf"},
			marketplaces: []string{"noon", "talabat", "xcite"}, between: " ", country: "KW", phone: "+965 9999 9999",
			family: []string{"الصباح", "العنزي", "المطيري"}, given: []string{"محمد", "فاطمة", "عبد الله", "نورة 🌙"},
			streets: []string{"شارع الخليج العربي", "شارع فهد السالم"}, cities: []city{{"مدينة الكويت", "العاصمة", "13099"}, {"السالمية", "حولي", "22099"}},
			notes: []string{"كل عام وأنتم بخير 🌙", "الرجاء الاتصال قبل التوصيل", "بدون سكر، شكرًا"},
		},
		{
			code: "AE", weight: 4, currency: "AED", decimals: 2, rate: 3.97, step: 25, tax: 50, regions: []string{"gulf"},
			marketplaces: []string{"noon", "amazon.ae", "talabat"}, between: " ", country: "AE", phone: "+971 4 999 9999",
			family: []string{"آل مكتوم", "الهاشمي", "Fernandes"}, given: []string{"خالد", "مريم", "Rashid", "سارة"},
			streets: []string{"شارع الشيخ زايد", "شارع الوصل"}, cities: []city{{"دبي", "دبي", ""}, {"أبو ظبي", "أبو ظبي", ""}},
			notes: []string{"عيد ميلاد سعيد يا أمي 🎂", "اترك الطلب عند الاستقبال", "Leave with concierge"},
		},
		{
			code: "TN", weight: 2, currency: "TND", decimals: 3, rate: 3.4, step: 100, tax: 190, regions: []string{"maghreb"},
			marketplaces: []string{"jumia"}, between: " ", country: "TN", phone: "+216 71 999 999",
			family: []string{"بن علي", "الطرابلسي"}, given: []string{"ياسمين", "الحبيب"}, streets: []string{"شارع الحبيب بورقيبة", "نهج القصبة"},
			cities: []city{{"تونس", "تونس", "1099"}}, notes: []string{"الرجاء التوصيل مساءً", "Sonner deux fois"},
		},
		{
			code: "IL", weight: 2, currency: "ILS", decimals: 2, rate: 4, step: 10, tax: 180, regions: []string{"levant"},
			marketplaces: []string{"ksp", "wolt"}, between: " ", country: "IL", phone: "+972 3 999 9999",
			family: []string{"כהן", "בן־דוד"}, given: []string{"נועה", "יוסף"}, streets: []string{"רחוב דיזנגוף", "שדרות רוטשילד"},
			cities: []city{{"תל אביב", "תל אביב", "6199999"}}, notes: []string{"מזל טוב! 🎉", "נא להשאיר ליד הדלת"},
		},
		{
			code: "TH", weight: 2, currency: "THB", decimals: 2, rate: 38, step: 100, tax: 70, regions: []string{"default"},
			marketplaces: []string{"lazada", "shopee", "grab"}, between: " ", country: "TH", phone: "+66 2 999 9999",
			family: []string{"ศรีสุข", "วงศ์ใหญ่"}, given: []string{"สมชาย", "กานต์ธิดา"}, streets: []string{"ถนนสุขุมวิท", "ซอยอารีย์"},
			cities: []city{{"กรุงเทพฯ", "กรุงเทพมหานคร", "10999"}}, notes: []string{"สุขสันต์วันเกิด 🎂", "ฝากไว้ที่ป้อมยาม"},
		},
	}
}
