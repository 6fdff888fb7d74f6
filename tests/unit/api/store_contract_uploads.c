/* The suite lives with the store; here it is compiled for the run over HTTP. */
#include "../store/contract_uploads.c"
