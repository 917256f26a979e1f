"""`Language`: languages are told apart, short texts are not guessed at, and code is left out."""
# ruff: noqa: RUF001  (other languages have other letters)

import pytest

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import Language
from llmops_sdk.guards._language.profiles import LANGUAGES, _profile, identify
from llmops_sdk.testing import GuardContract

ENGLISH = "The train leaves at noon, and we should be there before the others."
GERMAN = "Der Zug fährt mittags ab, und wir sollten vor den anderen dort sein."
SENTENCES = {
    "en": [
        ENGLISH,
        "She has lived in this town for more than ten years.",
        "Can you tell me where the nearest pharmacy is?",
        "I would like to change my order, please.",
        "There are two reasons why this did not work.",
        "The report was written by a team of engineers.",
        "If it rains tomorrow we will stay at home.",
        "Most people do not know how a bank makes money.",
        "You can cancel your subscription at any time.",
        "Nobody had told him that the shop was closed.",
    ],
    "fr": [
        "Le train part à midi et nous devrions y être avant les autres.",
        "Elle habite dans cette ville depuis plus de dix ans.",
        "Pouvez-vous me dire où se trouve la pharmacie la plus proche ?",
        "Je voudrais modifier ma commande, s'il vous plaît.",
        "Il y a deux raisons pour lesquelles cela n'a pas marché.",
        "Le rapport a été rédigé par une équipe d'ingénieurs.",
        "S'il pleut demain, nous resterons à la maison.",
        "La plupart des gens ne savent pas comment une banque gagne de l'argent.",
        "Vous pouvez résilier votre abonnement à tout moment.",
        "Personne ne lui avait dit que le magasin était fermé.",
    ],
    "de": [
        GERMAN,
        "Sie wohnt seit mehr als zehn Jahren in dieser Stadt.",
        "Können Sie mir sagen, wo die nächste Apotheke ist?",
        "Ich möchte bitte meine Bestellung ändern.",
        "Es gibt zwei Gründe, warum das nicht funktioniert hat.",
        "Der Bericht wurde von einer Gruppe von Ingenieuren geschrieben.",
        "Wenn es morgen regnet, bleiben wir zu Hause.",
        "Die meisten Leute wissen nicht, wie eine Bank Geld verdient.",
        "Du kannst dein Abonnement jederzeit kündigen.",
        "Niemand hatte ihm gesagt, dass der Laden geschlossen war.",
    ],
    "es": [
        "El tren sale al mediodía y deberíamos estar allí antes que los demás.",
        "Ella vive en esta ciudad desde hace más de diez años.",
        "¿Puede decirme dónde está la farmacia más cercana?",
        "Me gustaría cambiar mi pedido, por favor.",
        "Hay dos razones por las que esto no funcionó.",
        "El informe fue escrito por un equipo de ingenieros.",
        "Si llueve mañana nos quedaremos en casa.",
        "La mayoría de la gente no sabe cómo gana dinero un banco.",
        "Usted puede cancelar su suscripción en cualquier momento.",
        "Nadie le había dicho que la tienda estaba cerrada.",
    ],
    "it": [
        "Il treno parte a mezzogiorno e dovremmo essere lì prima degli altri.",
        "Lei abita in questa città da più di dieci anni.",
        "Può dirmi dove si trova la farmacia più vicina?",
        "Vorrei modificare il mio ordine, per favore.",
        "Ci sono due motivi per cui questo non ha funzionato.",
        "Il rapporto è stato scritto da una squadra di ingegneri.",
        "Se domani piove resteremo a casa.",
        "La maggior parte delle persone non sa come una banca guadagna.",
        "Puoi disdire il tuo abbonamento in qualsiasi momento.",
        "Nessuno gli aveva detto che il negozio era chiuso.",
    ],
    "pt": [
        "O trem parte ao meio-dia e deveríamos estar lá antes dos outros.",
        "Ela mora nesta cidade há mais de dez anos.",
        "Você pode me dizer onde fica a farmácia mais próxima?",
        "Eu gostaria de alterar o meu pedido, por favor.",
        "Há duas razões pelas quais isso não funcionou.",
        "O relatório foi escrito por uma equipe de engenheiros.",
        "Se chover amanhã, vamos ficar em casa.",
        "A maioria das pessoas não sabe como um banco ganha dinheiro.",
        "Você pode cancelar a sua assinatura a qualquer momento.",
        "Ninguém lhe tinha dito que a loja estava fechada.",
    ],
    "nl": [
        "De trein vertrekt om twaalf uur en we moeten er voor de anderen zijn.",
        "Zij woont al meer dan tien jaar in deze stad.",
        "Kunt u mij zeggen waar de dichtstbijzijnde apotheek is?",
        "Ik wil graag mijn bestelling wijzigen, alstublieft.",
        "Er zijn twee redenen waarom dit niet werkte.",
        "Het rapport is geschreven door een groep ingenieurs.",
        "Als het morgen regent blijven we thuis.",
        "De meeste mensen weten niet hoe een bank geld verdient.",
        "Je kunt je abonnement op elk moment opzeggen.",
        "Niemand had hem verteld dat de winkel gesloten was.",
    ],
    "pl": [
        "Pociąg odjeżdża w południe i powinniśmy tam być przed innymi.",
        "Ona mieszka w tym mieście od ponad dziesięciu lat.",
        "Czy może mi pan powiedzieć, gdzie jest najbliższa apteka?",
        "Chciałbym zmienić moje zamówienie, proszę.",
        "Są dwa powody, dla których to nie zadziałało.",
        "Raport został napisany przez zespół inżynierów.",
        "Jeśli jutro będzie padać, zostaniemy w domu.",
        "Większość ludzi nie wie, jak bank zarabia pieniądze.",
        "Możesz anulować subskrypcję w każdej chwili.",
        "Nikt mu nie powiedział, że sklep jest zamknięty.",
    ],
    "sv": [
        "Tåget går klockan tolv och vi borde vara där före de andra.",
        "Hon har bott i den här staden i mer än tio år.",
        "Kan du säga mig var närmaste apotek ligger?",
        "Jag skulle vilja ändra min beställning, tack.",
        "Det finns två skäl till att detta inte fungerade.",
        "Rapporten skrevs av en grupp ingenjörer.",
        "Om det regnar i morgon stannar vi hemma.",
        "De flesta vet inte hur en bank tjänar pengar.",
        "Du kan avsluta din prenumeration när som helst.",
        "Ingen hade sagt till honom att affären var stängd.",
    ],
    "tr": [
        "Tren öğlen kalkıyor ve diğerlerinden önce orada olmalıyız.",
        "O bu şehirde on yıldan daha uzun süredir yaşıyor.",
        "Bana en yakın eczanenin nerede olduğunu söyler misiniz?",
        "Siparişimi değiştirmek istiyorum, lütfen.",
        "Bunun çalışmamasının iki nedeni var.",
        "Rapor bir mühendis ekibi tarafından yazıldı.",
        "Yarın yağmur yağarsa evde kalacağız.",
        "Çoğu insan bir bankanın nasıl para kazandığını bilmez.",
        "Aboneliğinizi istediğiniz zaman iptal edebilirsiniz.",
        "Hiç kimse ona dükkanın kapalı olduğunu söylememişti.",
    ],
    "ru": [
        "Поезд отходит в полдень, и мы должны быть там раньше других.",
        "Она живёт в этом городе больше десяти лет.",
        "Вы можете сказать мне, где ближайшая аптека?",
        "Я хотел бы изменить мой заказ, пожалуйста.",
        "Есть две причины, почему это не сработало.",
        "Отчёт был написан группой инженеров.",
        "Если завтра будет дождь, мы останемся дома.",
        "Большинство людей не знает, как банк зарабатывает деньги.",
        "Вы можете отменить подписку в любое время.",
        "Никто не сказал ему, что магазин закрыт.",
    ],
    "zh": [
        "火车中午出发,我们应该比其他人先到。",
        "她在这个城市住了十多年。",
        "你能告诉我最近的药店在哪里吗?",
        "我想更改我的订单。",
        "这没有成功有两个原因。",
        "这份报告是由一组工程师写的。",
        "如果明天下雨,我们就待在家里。",
        "大多数人不知道银行怎么赚钱。",
        "您可以随时取消订阅。",
        "没有人告诉他商店关门了。",
    ],
}


class TestContract(GuardContract):
    examples_allowed = (ENGLISH, "ok")
    examples_caught = (GERMAN * 3, SENTENCES["zh"][0])
    tries = 40

    def make_guard(self):
        return Language(allow=["en"])


class TestContractWhenUnknownIsBlocked(TestContract):
    examples_allowed = (ENGLISH,)
    examples_caught = (GERMAN, "", "42")

    def make_guard(self):
        return Language(allow=["en"], unknown="block")


@pytest.mark.parametrize("language", SENTENCES)
def test_most_sentences_are_known_and_hardly_one_is_mistaken(language):
    found = [identify(sentence).language for sentence in SENTENCES[language]]
    assert found.count(language) >= 8
    assert sum(one not in {language, "unknown"} for one in found) <= 1


@pytest.mark.parametrize("language", SENTENCES)
def test_paragraphs_are_known(language):
    assert identify(" ".join(SENTENCES[language])).language == language


@pytest.mark.parametrize("text", ["", "ok", "42", "John Smith", "a b c", "\ud800", "{}[]();", "!!!"])
def test_too_little_is_unknown(text):
    assert identify(text).language == "unknown"
    assert Language(allow=["fr"]).check(text).action == "allow"
    assert Language(allow=["fr"], unknown="block").check(text).blocked


def test_code_and_addresses_are_left_out():
    code = "```python\nif this is not in the list and that is, or for all of them:\n    return this\n```"
    text = f"Voici ce que vous avez demandé pour votre projet :\n{code}\nhttps://example.org/the/and/of/it"
    assert identify(text).language == "fr"


def test_a_paragraph_in_another_language_is_found_at_its_place():
    first = (ENGLISH + " ") * 6 + "\n"
    verdict = Language(allow=["en"], action="flag").check(first + GERMAN * 6)
    assert {f.rule for f in verdict.findings} == {"de"}
    assert 300 <= verdict.findings[0].start <= len(first)


def test_the_rate_is_how_sure_another_language_is():
    guard = Language(allow=["en"])
    assert guard.rate(ENGLISH) == 0
    assert guard.rate(GERMAN) >= guard.threshold


def test_every_language_of_the_profile_is_listed():
    words, endings = _profile()
    assert {language for weights in (*words.values(), *endings.values()) for language in weights} <= LANGUAGES


@pytest.mark.parametrize(
    "wrong",
    [
        {"allow": []},
        {"allow": "en"},
        {"allow": ["xx"]},
        {"allow": ["en"], "unknown": "maybe"},
        {"allow": ["en"], "threshold": 0},
    ],
)
def test_wrong_wiring_is_refused(wrong):
    with pytest.raises(ConfigurationError):
        Language(**wrong)
