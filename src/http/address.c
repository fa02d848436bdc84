/*
 * address.c
 *	  Addresses: canonical form, ranges, and which of them are public.
 *
 * Everything here is called from callbacks of libcurl; no postgres.h: see host.h.
 */
#include "http/host.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define lengthof(array) ((int) (sizeof(array) / sizeof((array)[0])))

typedef struct AddressRange
{
	unsigned char bytes[16];
	int			bits;
} AddressRange;

/* IANA's registries of special-purpose addresses, multicast and reserved ones. */
static const AddressRange special_v4[] = {
	{{0}, 8},					/* this network */
	{{10}, 8},					/* private */
	{{100, 64}, 10},			/* carrier-grade NAT */
	{{127}, 8},					/* loopback */
	{{169, 254}, 16},			/* link-local, cloud metadata */
	{{172, 16}, 12},			/* private */
	{{192, 0, 0}, 24},			/* protocol assignments */
	{{192, 0, 2}, 24},			/* documentation */
	{{192, 88, 99}, 24},		/* 6to4 relays */
	{{192, 168}, 16},			/* private */
	{{198, 18}, 15},			/* benchmarks */
	{{198, 51, 100}, 24},		/* documentation */
	{{203, 0, 113}, 24},		/* documentation */
	{{224}, 3},					/* multicast, reserved, broadcast */
};

/* Of global unicast, 2000::/3; whatever is outside of that is not public. */
static const AddressRange special_v6[] = {
	{{0x20, 0x01, 0x00}, 23},	/* protocol assignments, Teredo, ORCHID */
	{{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
	{{0x3f, 0xff}, 20},			/* documentation */
};

static const AddressRange global_v6 = {{0x20}, 3};
static const AddressRange nat64 = {{0x00, 0x64, 0xff, 0x9b}, 96};
static const AddressRange sixtofour = {{0x20, 0x02}, 16};
static const unsigned char mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool bits_equal(const unsigned char *a, const unsigned char *b, int bits);
static void address_set_v6(HttpAddress *address, const unsigned char *bytes);

bool
http_address_from_text(const char *text, HttpAddress *address)
{
	unsigned char bytes[16];

	memset(address, 0, sizeof(HttpAddress));
	if (inet_pton(AF_INET, text, bytes) == 1)
	{
		memcpy(address->bytes, bytes, 4);
		return true;
	}
	if (inet_pton(AF_INET6, text, bytes) == 1)
	{
		address_set_v6(address, bytes);
		return true;
	}
	return false;
}

bool
http_address_from_sockaddr(const struct sockaddr *from, HttpAddress *address)
{
	memset(address, 0, sizeof(HttpAddress));
	if (from->sa_family == AF_INET)
	{
		const struct sockaddr_in *in = (const struct sockaddr_in *) from;

		memcpy(address->bytes, &in->sin_addr, 4);
		return true;
	}
	if (from->sa_family == AF_INET6)
	{
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) from;

		address_set_v6(address, in6->sin6_addr.s6_addr);
		return true;
	}
	return false;
}

bool
http_address_within(const HttpAddress *address, const HttpAddress *net, int bits)
{
	return address->v6 == net->v6 && bits_equal(address->bytes, net->bytes, bits);
}

bool
http_address_is_public(const HttpAddress *address)
{
	HttpAddress embedded = {0};

	if (!address->v6)
	{
		for (int i = 0; i < lengthof(special_v4); i++)
			if (bits_equal(address->bytes, special_v4[i].bytes, special_v4[i].bits))
				return false;
		return true;
	}

	/* Translators and tunnels lead to the IPv4 address they carry. */
	if (bits_equal(address->bytes, nat64.bytes, nat64.bits))
	{
		memcpy(embedded.bytes, address->bytes + 12, 4);
		return http_address_is_public(&embedded);
	}
	if (bits_equal(address->bytes, sixtofour.bytes, sixtofour.bits))
	{
		memcpy(embedded.bytes, address->bytes + 2, 4);
		return http_address_is_public(&embedded);
	}

	if (!bits_equal(address->bytes, global_v6.bytes, global_v6.bits))
		return false;
	for (int i = 0; i < lengthof(special_v6); i++)
		if (bits_equal(address->bytes, special_v6[i].bytes, special_v6[i].bits))
			return false;
	return true;
}

static bool
bits_equal(const unsigned char *a, const unsigned char *b, int bits)
{
	int			whole = bits / 8;
	unsigned char mask = (unsigned char) (0xff << (8 - bits % 8));

	if (memcmp(a, b, whole) != 0)
		return false;
	return bits % 8 == 0 || ((a[whole] ^ b[whole]) & mask) == 0;
}

static void
address_set_v6(HttpAddress *address, const unsigned char *bytes)
{
	address->v6 = memcmp(bytes, mapped_prefix, sizeof(mapped_prefix)) != 0;
	if (address->v6)
		memcpy(address->bytes, bytes, 16);
	else
		memcpy(address->bytes, bytes + 12, 4);
}
