"""ISO 4217: the currencies that a price or an invoice can be in, and their decimal places."""

import re
from decimal import ROUND_HALF_UP, Decimal

CURRENCIES = frozenset(
    """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY
    COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS
    INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU
    MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK
    SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF
    XCD XCG XOF XPF YER ZAR ZMW ZWG
    """.split()  # noqa: SIM905 - a list of 157 quoted texts is no easier to compare with the standard
)
"""Codes that money is paid in, with three (ANG, BGN, HRK) that older invoices are in; no metals, funds and test codes."""

_WITHOUT_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_WITH_THREE = "BHD IQD JOD KWD LYD OMR TND"
DECIMAL_PLACES = dict.fromkeys(_WITHOUT_DECIMALS.split(), 0) | dict.fromkeys(_WITH_THREE.split(), 3)
"""The decimal places of the currencies that do not have two. The macro `rounded_to_currency` has the same."""

_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}\.[0-9]{3}", re.ASCII)


def rounded_to_currency(amount: Decimal, currency: str | None) -> Decimal:
    """An amount with the decimal places of its currency, rounded half away from zero."""
    return amount.quantize(Decimal(1).scaleb(-DECIMAL_PLACES.get(currency or "", 2)), ROUND_HALF_UP)


def excess_decimals(text: str, amount: Decimal, currency: str | None, source: str) -> str | None:
    """What is wrong if an amount has more decimals than its currency.

    In a file, 7.000 may mean seven thousand, so it is refused. A table has numbers, and no separator of thousands.
    """
    places = DECIMAL_PLACES.get(currency or "", 2)
    is_ambiguous = places != 3 and source.endswith(".csv") and _THOUSANDS.fullmatch(text.strip())
    if amount == rounded_to_currency(amount, currency) and not is_ambiguous:
        return None
    return f"{text} has too many decimal places; {currency} has {places or 'none'}, and no separator of thousands is allowed"
